/** The ready messages of a queue: lanes by priority, and what is in all of them together. */

import type { LaneRecord, Message, Publication } from "../message/message.ts";
import type { DeadCount } from "../store/messages/dead_messages.ts";
import type { StoredLane } from "../store/messages/lane_counters.ts";
import type { Store } from "../store/store.ts";
import { isTooLong, type QueueArguments } from "./arguments.ts";
import { Lane } from "./lane.ts";
import { messagesBefore, messagesBehind } from "./looking.ts";
import type { MemoryUse } from "./memory_use.ts";

/** Where a ready message stands: its lane, and its place there. */
export interface Place {
  readonly priority: number;
  readonly position: number;
}

export class ReadyMessages {
  readonly #store: Store;
  readonly #memory: MemoryUse;
  readonly #queueId: number;
  readonly #topPriority: number;
  readonly #onUnreadable: () => void;
  readonly #onRefused: (message: Message) => void;
  /** By priority; a queue without priorities has one lane. */
  readonly #lanes: (Lane | undefined)[] = [];
  #count = 0;
  #bytes = 0;
  #isSlow = false;

  /**
   * @param queueId row id of a durable queue, or 0
   * @param onUnreadable told that there are messages that cannot be read
   * @param onRefused told of a message that the store has refused
   */
  constructor(
    store: Store,
    memory: MemoryUse,
    queueId: number,
    topPriority: number,
    onUnreadable: () => void,
    onRefused: (message: Message) => void,
  ) {
    this.#onUnreadable = onUnreadable;
    this.#onRefused = onRefused;
    this.#store = store;
    this.#memory = memory;
    this.#queueId = queueId;
    this.#topPriority = topPriority;
  }

  get count(): number {
    return this.#count;
  }

  /** Of their bodies. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether they are more than may be ready. */
  isTooLong(args: QueueArguments): boolean {
    return isTooLong(args, this.#count, this.#bytes);
  }

  /** Whether one more is not taken for them. @param bytes of its body */
  rejects(args: QueueArguments, bytes: number): boolean {
    return args.overflow !== "drop-head" && isTooLong(args, this.#count + 1, this.#bytes + bytes);
  }

  /** @param dead messages, which are not ready */
  restore(stored: StoredLane, dead: DeadCount | undefined): LaneRecord {
    const lane = this.#makeLane(stored.priority, stored.id);
    lane.restore(stored, dead);
    this.#lanes[stored.priority] = lane;
    this.#count += stored.depth - (dead?.count ?? 0);
    this.#bytes += stored.bytes - (dead?.bytes ?? 0);
    return lane;
  }

  #makeLane(priority: number, id?: number): Lane {
    return new Lane(this.#store, this.#memory, this.#queueId, priority, id, {
      unreadable: this.#onUnreadable,
      refused: (message) => {
        this.#left(message);
        this.#onRefused(message);
      },
    });
  }

  /** @param message that was appended here, or restored */
  #laneOf(message: Message): Lane {
    return this.#lanes[message.lane.priority]!;
  }

  #laneFor(priority: number): Lane {
    return this.#lanes[priority] ??= this.#makeLane(priority);
  }

  /** The lane of a message that is never ready. */
  get lowest(): LaneRecord {
    return this.#laneFor(0);
  }

  append(publication: Publication, expiresAt: number, durable: boolean): Message {
    const priority = Math.min(publication.priority, this.#topPriority);
    const message = this.#laneFor(priority).append(publication, expiresAt, durable);
    this.#count++;
    this.#bytes += message.bodyLength;
    return message;
  }

  /** The message just appended will wait. */
  keep(message: Message): void {
    this.#laneOf(message).keep(message);
  }

  /** Takes the next message, of the highest priority; none when the store cannot be read now. */
  take(): Message | undefined {
    this.#isSlow = false;
    for (let priority = this.#lanes.length - 1; priority >= 0; priority--) {
      const lane = this.#lanes[priority];
      if (lane === undefined) continue;
      if (lane.peek() !== undefined) return this.#shift(lane);
      this.#isSlow ||= lane.isSlow;
    }
    return undefined;
  }

  /** Bytes of the next message. */
  get nextSize(): number {
    return this.#lanes.findLast((lane) => lane?.peek() !== undefined)?.peek()?.size ?? 0;
  }

  /** There was none to take, but may be when asked again. */
  get isSlow(): boolean {
    return this.#isSlow;
  }

  /** A message that was taken cannot be read. It stays, and is tried again. */
  setAside(message: Message): void {
    this.#count++;
    this.#bytes += message.bodyLength;
    this.#laneOf(message).setAside(message);
  }

  /** A message that was taken is not delivered: it is the first again. */
  untake(message: Message): void {
    this.#count++;
    this.#bytes += message.bodyLength;
    this.#laneOf(message).putBack([message]);
  }

  get hasUnreadable(): boolean {
    return this.#lanes.some((lane) => lane?.hasUnreadable);
  }

  /** Tries again to read what could not be read, in pieces. */
  *readAgain(): Generator<void> {
    for (const lane of this.#lanes) {
      if (lane?.hasUnreadable) yield* lane.readAgain();
    }
  }

  #shift(lane: Lane): Message {
    const message = lane.shift();
    this.#left(message);
    return message;
  }

  /** It is not ready any more. */
  #left(message: Message): void {
    this.#count--;
    this.#bytes -= message.bodyLength;
  }

  /** Notes that a message leaves for a consumer. */
  delivered(message: Message): void {
    this.#laneOf(message).delivered(message);
  }

  /** Back to where they were. */
  putBack(messages: Message[]): void {
    const lane = messages[0]?.lane;
    let isOneLane = true;
    for (const message of messages) {
      message.markRedelivered();
      this.#bytes += message.bodyLength;
      isOneLane &&= message.lane === lane;
    }
    this.#count += messages.length;
    if (isOneLane && lane !== undefined) return this.#lanes[lane.priority]!.putBack(messages);
    const byLane = Map.groupBy(messages, (message) => this.#laneOf(message));
    for (const [lane, group] of byLane) lane.putBack(group);
  }

  // -- looking, without taking --

  /** The lanes with messages, the one that is served first first. */
  get lanes(): readonly Lane[] {
    return this.#lanes.toReversed().filter((lane) =>
      lane !== undefined && lane.length > 0
    ) as Lane[];
  }

  /** Up to `limit` messages in the order in which they are served, behind a place in it. */
  after(place: Place | undefined, limit: number): Message[] {
    const found: Message[] = [];
    for (const lane of this.lanes) {
      if (place !== undefined && lane.priority > place.priority) continue;
      const from = lane.priority === place?.priority ? place.position : 0;
      found.push(...messagesBehind(lane.view, from, limit - found.length));
      if (found.length >= limit) break;
    }
    return found;
  }

  /** Up to `limit` messages before a place, the one that is served last first. */
  before(place: Place | undefined, limit: number): Message[] {
    const found: Message[] = [];
    for (const lane of this.lanes.toReversed()) {
      if (place !== undefined && lane.priority < place.priority) continue;
      const to = lane.priority === place?.priority ? place.position : Infinity;
      found.push(...messagesBefore(lane.view, to, limit - found.length));
      if (found.length >= limit) break;
    }
    return found;
  }

  /** The message at a place, if it is ready. */
  find({ priority, position }: Place): Message | undefined {
    const lane = this.#lanes[priority];
    const [message] = lane === undefined ? [] : messagesBehind(lane.view, position - 1, 1);
    return message?.position === position ? message : undefined;
  }

  /** A message that {@link find} or the like has shown, if it is still ready. */
  again(shown: Message): Message | undefined {
    const { lane: { priority }, position } = shown;
    // Who shows it has read it: once more would cost as much as all the rest.
    return this.#lanes[priority]?.isPaged(shown) ? shown : this.find({ priority, position });
  }

  /** Takes a message that {@link find} or the like has shown. */
  takeOut(shown: Message): Message | undefined {
    const message = this.again(shown);
    if (message === undefined) return undefined;
    this.#lanes[message.lane.priority]!.takeOut(message);
    this.#left(message);
    return message;
  }

  // -- time --

  /** When a message expires, by `now`; 0 for never. */
  expiryOf(message: Message): number {
    return this.#laneOf(message).expiryOf(message);
  }

  /** When the first message expires; Infinity for never. Only heads of lanes do, as in RabbitMQ. */
  firstExpiry(): number {
    let first = Infinity;
    for (const lane of this.#lanes) {
      const head = lane?.peek();
      const expiresAt = head === undefined ? 0 : lane!.expiryOf(head);
      if (expiresAt !== 0) first = Math.min(first, expiresAt);
    }
    return first;
  }

  /** Takes a message whose time is over, if there is one. */
  takeExpired(time: number): Message | undefined {
    this.#isSlow = false;
    for (const lane of this.#lanes) {
      const head = lane?.peek();
      this.#isSlow ||= head === undefined && lane !== undefined && lane.isSlow;
      if (head === undefined || head.expiresAt === 0 || lane!.expiryOf(head) > time) continue;
      return this.#shift(lane!);
    }
    return undefined;
  }

  // -- ending --

  /** Removes all. @returns how many they were */
  purge(): number {
    let count = 0;
    for (const lane of this.#lanes) count += lane?.purge() ?? 0;
    this.#count = this.#bytes = 0;
    return count;
  }

  /** The queue is gone. @returns the ids of its lanes */
  drop(): number[] {
    for (const lane of this.#lanes) lane?.drop();
    this.#count = this.#bytes = 0;
    return this.#lanes.flatMap((lane) => lane === undefined ? [] : [lane.id]);
  }
}
