/**
 * What survives a restart, in one SQLite file (`store_writer.ts`). All that others know of it is:
 *
 * - changes are remembered here, and written by {@link Store.commit} as one transaction, so that an
 *   event-loop turn costs one fsync however much happened in it. Nothing that depends on a change
 *   may leave the process before its commit;
 * - reading shows the changes, those included that wait for the commit.
 */

import type { Content } from "../message/content.ts";
import { type DataFile, SCRATCH_FILE } from "./file/data_file.ts";
import type { GrowingBody } from "./messages/bodies.ts";
import { DeadMessages } from "./messages/dead_messages.ts";
import { DefinitionChanges, type Subject } from "./definitions/definition_changes.ts";
import { Definitions } from "./definitions/definitions.ts";
import { type LaneRecord, type Message, Row } from "../message/message.ts";
import { LaneCounters, type StoredLane } from "./messages/lane_counters.ts";
import { LaneIds } from "./messages/lane_ids.ts";
import { ENOUGH_ROWS, MessageTable } from "./messages/message_table.ts";
import { type Author, Refusals } from "./refusals.ts";
import { numberOf } from "./file/schema.ts";
import { SeenKeys } from "./messages/seen_keys.ts";
import { Scratch } from "./messages/scratch.ts";
import { StoredMessages } from "./messages/stored_messages.ts";
import { StoredUsers } from "./definitions/stored_users.ts";
import { StoreWriter } from "./store_writer.ts";

/** Lanes with changes. */
const ENOUGH_LANES = 2_000;

/** Positions, and bytes of messages, that are deleted at once when they are given up. */
const SHORT_ROWS = 100;
const SHORT_BYTES = 256 * 1024;

export interface StoreOptions {
  /** From now on it is the store's, unless the store's constructor throws. */
  file: DataFile;
  /** Told once when writing fails, with the reason, and once with undefined when it works again. */
  onFailure: (reason: string | undefined) => void;
  /** Told how many bytes of messages a commit has written. */
  onWritten?: (bytes: number) => void;
  /** Told of every change that waits for a commit. */
  onChange?: () => void;
  /** Told what is refused for its data, and why. */
  onRefusal?: (what: string, reason: string) => void;
  /** Told of definitions that are in memory and were refused. */
  onUnsaved?: (vhost: string, subject: Subject) => void;
  /** Told when there is something to {@link Store.sweep}. */
  onDiscard?: () => void;
}

export class Store {
  /** What is stored. */
  readonly definitions: Definitions;
  readonly users: StoredUsers;
  /** What the next commit changes about the definitions. */
  readonly changes: DefinitionChanges;
  /** What is dead and has no queue to go to. */
  readonly dead: DeadMessages;
  readonly file: DataFile;
  /** What queues without duplicates have had. */
  readonly seen: SeenKeys;
  readonly #messages: StoredMessages;
  readonly #durable: MessageTable;
  readonly #lanes: LaneCounters;
  readonly #laneIds: LaneIds;
  readonly #scratch: Scratch;
  readonly #writer: StoreWriter;
  readonly #onChange: () => void;
  readonly #onDiscard: StoreOptions["onDiscard"];
  #nextQueueId: number;

  /** @throws what SQLite throws when the file cannot be read */
  constructor(options: StoreOptions) {
    this.#onChange = options.onChange ?? (() => {});
    this.#onDiscard = options.onDiscard;
    const file = this.file = options.file;
    const { database } = file;
    this.definitions = new Definitions(database);
    this.users = new StoredUsers(database);
    this.changes = new DefinitionChanges(database, file.log, {
      onChange: this.#onChange,
      onRefused: options.onUnsaved ?? (() => {}),
    });
    const refusals = new Refusals(options.onRefusal ?? (() => {}));
    const onDamage = (error: unknown) => this.#writer.noteDamage(error);
    const onGone = () => this.#onDiscard?.();
    const path = file.pathOf(SCRATCH_FILE);
    const scratch = this.#scratch = new Scratch(path, refusals, onDamage, onGone);
    const durable = this.#durable = new MessageTable(database, {
      onDamage,
      onGone,
      others: ["dead"],
    });
    this.#messages = new StoredMessages(durable, scratch, onDamage);
    this.dead = new DeadMessages(
      database,
      (messages) => durable.unpack(messages),
      this.#onChange,
      onDamage,
      () => this.#noteReadable(),
    );
    this.seen = new SeenKeys(database, this.#onChange, onDamage);
    this.#lanes = new LaneCounters(database, file.marks);
    this.#laneIds = new LaneIds(
      numberOf(database, "SELECT max(id) FROM lane"),
      durable.discardedLanes(),
    );
    this.#writer = new StoreWriter(
      {
        file,
        refusals,
        changes: this.changes,
        messages: durable,
        dead: this.dead,
        seen: this.seen,
        lanes: this.#lanes,
        scratch,
      },
      options.onFailure,
      options.onWritten ?? (() => {}),
    );
    this.#nextQueueId = 1 + numberOf(database, "SELECT max(id) FROM queue");
  }

  // -- the file --

  /** Whether anything is kept over a restart. */
  get durable(): boolean {
    return this.file.isOnDisk;
  }

  /** All of it could be read: from now on the data are written. */
  begin(): void {
    this.file.begin();
    this.#scratch.removeLeft();
  }

  /** Does what would come with the first change. */
  prepare(): void {
    this.#writer.prepare();
  }

  close(): void {
    this.#writer.close();
    this.#scratch.close();
    this.file.close();
  }

  // -- queues and lanes --

  /** Who asks for what comes next; undefined: the broker itself. */
  set author(author: Author | undefined) {
    this.changes.author = author;
  }

  /** Adds a user, or changes the hash of a password; at once. */
  setSecret(user: string, secret: string): void {
    this.#writer.setSecret(user, secret);
  }

  /** Runs what somebody else asks for. */
  actFor<T>(author: Author, run: () => T): T {
    const before = this.changes.author;
    this.changes.author = author;
    try {
      return run();
    } finally {
      this.changes.author = before;
    }
  }

  nextQueueId(): number {
    return this.#nextQueueId++;
  }

  lanes(): StoredLane[] {
    const lanes = this.#lanes.stored((id, known) => this.#durable.lastPosition(id, known));
    for (const { id } of lanes) this.#laneIds.restore(id);
    this.#nextQueueId = Math.max(this.#nextQueueId, 1 + this.seen.findGone());
    return lanes;
  }

  /** An id that no lane has, nor had while messages of it may be left. */
  takeLaneId(durable: boolean): number {
    return this.#laneIds.take(durable);
  }

  /** A lane and all that it ever held is gone. */
  dropLane(lane: LaneRecord, lastPosition: number, bytes: number): void {
    this.discard(lane, 1, lastPosition, bytes);
    this.dead.dropLane(lane.id);
    this.file.marks.forget(lane);
    this.#laneIds.drop(lane.id, this.#messages.hasDiscardedOf(lane.id));
  }

  /** Writes changed counters of a lane with the next commit. */
  changed(lane: LaneRecord): void {
    if (lane.queueId === 0) return;
    this.#lanes.changed(lane);
    this.#onChange();
  }

  /** Notes how far a lane was delivered: a mark, and a row that {@link hasDelivered} asks for. */
  delivered(lane: LaneRecord): void {
    this.#lanes.delivered(lane);
  }

  get hasDelivered(): boolean {
    return this.#lanes.hasDelivered;
  }

  /** Makes the next commit write what {@link delivered} noted, if not all of it. */
  forceDelivered(most = ENOUGH_LANES): void {
    this.#lanes.forceDelivered(most);
  }

  // -- changes of messages --

  /** A body, to be brought here before the messages that have it. {@link Bodies.begin} */
  beginBody(length: number, kind: "durable" | "transient"): GrowingBody {
    const { bodies } = kind === "durable" ? this.#durable : this.#scratch.open();
    return bodies.begin(length, this.#onChange);
  }

  insert(message: Message): void {
    this.#messages.tableOf(message).insert(message, this.changes.author);
    if (message.durable) this.#lanes.count(message, 1);
    this.#onChange();
  }

  remove(message: Message): void {
    if (message.row === Row.none || message.row === Row.skipped) return;
    this.#messages.tableOf(message).remove(message);
    this.dead.remove(message);
    if (message.durable) this.#lanes.count(message, -1);
    this.#onChange();
  }

  /** Writes a changed delivery count with the next commit. */
  update(message: Message): void {
    if (message.row === Row.none) return;
    this.#messages.tableOf(message).update(message);
    this.#onChange();
  }

  /**
   * Gives up all rows of a lane between two positions. They are deleted piece by piece, if they are
   * not few.
   * @param bytes of their messages, at most
   */
  discard(lane: LaneRecord, first: number, last: number, bytes: number): void {
    if (first > last) return;
    const isLong = last - first >= SHORT_ROWS || bytes >= SHORT_BYTES;
    const short = isLong || this.hasUnreadable(lane) || this.dead.has(lane.id) ? undefined : bytes;
    this.#messages.discard(lane, first, last, short);
    this.#onChange();
    this.#onDiscard?.();
  }

  // -- reading of messages --

  /** {@link StoredMessages.load} */
  load(message: Message): Content | undefined {
    return this.#messages.load(message);
  }

  /** {@link StoredMessages.read} */
  read(lane: LaneRecord, after: number, limit: number): Message[] | undefined {
    return this.#messages.read(lane, after, limit);
  }

  // -- what cannot be read --

  /** {@link StoredMessages.hasUnreadable} */
  hasUnreadable({ id }: LaneRecord): boolean {
    return this.#messages.hasUnreadable(id);
  }

  /** The bytes of a message cannot be read: it is left out until {@link readAgain} finds it. */
  setAside(message: Message): void {
    this.#messages.tableOf(message).addUnreadable(message);
  }

  /** {@link StoredMessages.readAgain} */
  *readAgain(lane: LaneRecord): Generator<Message[]> {
    // The disk may give what the cache has wrong.
    this.file.forgetPages();
    yield* this.#messages.readAgain(lane);
    this.#noteReadable();
  }

  /** Nobody wants the messages of a lane any more that cannot be read. */
  discardUnreadable(lane: LaneRecord): void {
    if (this.#messages.discardUnreadable(lane)) {
      this.#onChange();
      this.#onDiscard?.();
    }
    this.#noteReadable();
  }

  #noteReadable(): void {
    if (this.#messages.isReadable && this.dead.isReadable) this.#writer.noteReadable();
  }

  // -- writing --

  /** Whether a commit would write anything. */
  get dirty(): boolean {
    return this.#writer.dirty;
  }

  /** Bytes of messages that wait for the commit. */
  get pendingBytes(): number {
    return this.#messages.pendingBytes;
  }

  /** Whether so much waits for the commit that it should not wait longer. */
  get isFull(): boolean {
    return this.changes.pendingRows >= ENOUGH_ROWS || this.#messages.isFull(this.file.patience) ||
      this.#lanes.pendingRows >= ENOUGH_LANES || this.seen.isFull;
  }

  /**
   * Writes everything since the last commit. It is not safe on disk before {@link sync} says so.
   * @returns whether it is written; if not, all of it is kept for the next try
   */
  commit(): boolean {
    if (!this.dirty) return true;
    this.forceDelivered();
    const isWritten = this.#writer.commit();
    // Some that could not be deleted may have come.
    if (this.hasDiscarded) this.#onDiscard?.();
    // Not all delivery counts go at once.
    if (isWritten && this.dirty) this.#onChange();
    return isWritten;
  }

  /** Milliseconds until the next sync should begin; Infinity: when one that is under way has ended. */
  get syncPause(): number {
    return this.file.log.pause;
  }

  /** Whether the log is long, and a {@link checkpoint} is better made now than within a commit. */
  get needsCheckpoint(): boolean {
    return this.file.checkpoint.isDue;
  }

  /** When no sync is under way. Nothing may be committed until it resolves. */
  checkpoint(): Promise<void> {
    return this.#writer.checkpoint();
  }

  /**
   * Brings all commits so far to the disk, unless there is a {@link syncPause} without end.
   * @returns whether they are safe now; if not, nothing will be any more. Undefined: they were before
   */
  sync(): Promise<boolean> | undefined {
    return this.#writer.sync();
  }

  /** As told to `onFailure`: the file cannot be written now, has no reserve, or is damaged. */
  get isFailing(): boolean {
    return this.#writer.isFailing;
  }

  /** What the last commit held is still only in memory. */
  get lastCommitFailed(): boolean {
    return this.failure !== undefined;
  }

  /** Why it is. */
  get failure(): string | undefined {
    return this.#writer.failure;
  }

  /** Whether rows of purged messages are left. */
  get hasDiscarded(): boolean {
    return this.#messages.hasDiscarded || this.seen.hasGone;
  }

  /** Deletes some rows of purged messages. */
  sweep(): void {
    this.#writer.sweep((lane) => this.#laneIds.swept(lane));
  }
}
