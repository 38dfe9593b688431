/**
 * The ready messages of one priority of one queue, in order. Memory holds the head of the lane; what
 * does not fit waits in the store and is read in batches, so that a backlog costs no memory.
 */

import { LARGE_BYTES } from "../message/content.ts";
import { Blocks } from "../message/content_memory.ts";
import { type LaneRecord, Message, type Publication } from "../message/message.ts";
import { ClockShifts } from "./clock_shifts.ts";
import type { LaneView } from "./looking.ts";
import { type MemoryUse, OVERHEAD_BYTES, weightOf } from "./memory_use.ts";
import { Paged } from "./paged.ts";
import { Returned } from "./returned.ts";
import { LAST_POSITION } from "../store/file/message_row.ts";
import type { DeadCount } from "../store/messages/dead_messages.ts";
import type { StoredLane } from "../store/messages/lane_counters.ts";
import type { Store } from "../store/store.ts";
import { Fault } from "../wire/faults.ts";

/** Most messages and bytes of a lane that wait in memory. */
const WINDOW_MESSAGES = 2_048;
const WINDOW_BYTES = 4 * 1024 * 1024;

/** Rows, and about how many bytes of memory for them, read from the store at once. */
const BATCH_MESSAGES = 512;
const BATCH_BYTES = 2 * 1024 * 1024;
/** The bytes when memory is full: each of many queues may have such a batch. */
const SCANT_BATCH_BYTES = 4 * 1024;

/**
 * The next message of a lane stands in memory even when that is full; its bytes, if they are more, do
 * not: there may be very many lanes.
 */
const THIN_BYTES = 1024;

/**
 * Small messages of a lane that wait in memory share arrays, blocks, while they are some: a block
 * lives as long as one of its messages, so of few each has its own.
 */
const BLOCK_BYTES = 8 * 1024;
const BLOCK_SHARE = BLOCK_BYTES / 4;
const SOME_MESSAGES = 16;
const FEW_MESSAGES = 8;

/** Who is told of what the store has done to messages of a lane. */
export interface LaneOwner {
  /** There are some that cannot be read. */
  unreadable(): void;
  /** One is not ready any more: the store has refused it. */
  refused(message: Message): void;
}

const NOBODY: LaneOwner = { unreadable() {}, refused() {} };

export class Lane implements LaneRecord {
  readonly id: number;
  readonly priority: number;
  readonly queueId: number;
  depth = 0;
  bytes = 0;
  deliveredTo = 0;
  dropped = false;

  readonly #store: Store;
  readonly #memory: MemoryUse;
  readonly #owner: LaneOwner;
  #isSlow = false;
  /** Messages in order of position; those before `#head` are gone. */
  #window: (Message | undefined)[] = [];
  #head = 0;
  #windowBytes = 0;
  /** Undefined: no message of the window is in a block. */
  #blocks: Blocks | undefined;
  /** Messages that came back. All lie before the window. */
  readonly #returned = new Returned();
  /** Messages that wait in the store, all behind the window. */
  readonly #paged: Paged;
  /** The last position that was ever in memory: the paged ones come after it. */
  #last = 0;
  #next = 1;
  /** Messages up to here may have been delivered before the restart. */
  #restoredDelivered = 0;
  readonly #clockShifts = new ClockShifts();

  /** @param queueId row id of a durable queue, or 0 */
  constructor(
    store: Store,
    memory: MemoryUse,
    queueId: number,
    priority: number,
    id?: number,
    owner: LaneOwner = NOBODY,
  ) {
    this.#store = store;
    this.#memory = memory;
    this.#owner = owner;
    this.queueId = queueId;
    this.priority = priority;
    this.id = id ?? store.takeLaneId(queueId !== 0);
    this.#paged = new Paged(this.id, store.dead);
  }

  /** Takes over what a former process stored: everything is paged, but for the dead. */
  restore(stored: StoredLane, dead?: DeadCount): void {
    const { deliveredTo } = stored;
    this.depth = stored.depth;
    this.bytes = stored.bytes;
    this.#paged.restore(stored.depth, stored.bytes, dead);
    this.deliveredTo = deliveredTo;
    this.#restoredDelivered = deliveredTo;
    const last = Math.max(stored.lastPosition, deliveredTo);
    this.#clockShifts.restart(last);
    this.#next = last + 1;
    if (this.#store.hasUnreadable(this)) this.#owner.unreadable();
  }

  /** When a message expires, by `now`; 0 for never. */
  expiryOf(message: Message): number {
    return this.#clockShifts.expiryOf(message);
  }

  get lastPosition(): number {
    return this.#next - 1;
  }

  get length(): number {
    return this.#window.length - this.#head + this.#returned.length + this.#paged.count;
  }

  /** Appends a message. It is written to the store if it is durable or finds no room in memory. */
  append(publication: Publication, expiresAt: number, durable: boolean): Message {
    if (this.#next > LAST_POSITION / 2) this.#startOver();
    if (expiresAt !== 0) this.#clockShifts.note(this.#next);
    const message = new Message(this, this.#next++, publication.content, expiresAt, durable);
    // The store first: it may refuse.
    const hasRoom = this.#hasRoom();
    const isStored = !hasRoom || durable || message.size >= LARGE_BYTES ||
      this.#mustBeThin(message);
    if (isStored) this.#store.insert(message);
    if (hasRoom) this.#enter(message);
    else this.#paged.add(message);
    return message;
  }

  /** Counts from 1 again, once nothing of the lane is left that was counted before. */
  #startOver(): void {
    if (this.length > 0 || this.depth > 0 || this.#store.hasDiscarded) {
      if (this.#next <= LAST_POSITION) return;
      // The next id would be that of another lane's message.
      throw new Fault("resource-error", "a queue has taken 2^40 messages and was never empty");
    }
    this.#next = 1;
    this.#last = this.deliveredTo = this.#restoredDelivered = 0;
    this.#clockShifts.restart(0);
    this.#paged.startOver();
  }

  #hasRoom(): boolean {
    if (this.#paged.count > 0) return false;
    const waiting = this.#window.length - this.#head;
    return waiting === 0 ||
      (waiting < WINDOW_MESSAGES && this.#windowBytes < WINDOW_BYTES &&
        !this.#memory.isFull);
  }

  #enter(message: Message): void {
    this.#last = message.position;
    this.#window.push(message);
    message.thin = this.#mustBeThin(message);
    if (message.thin) message.release();
    this.#count(message, 1);
  }

  #mustBeThin({ size }: Message): boolean {
    return size > THIN_BYTES && this.#memory.isFull;
  }

  /** The message just appended will wait. */
  keep(message: Message): void {
    const { content, size } = message;
    if (content === null || this.#window[this.#window.length - 1] !== message) return;
    const isAlone = size > BLOCK_SHARE || this.#window.length - this.#head < SOME_MESSAGES;
    if (isAlone || content.sharing !== undefined) content.detach();
    else content.moveTo(this.#blocks ??= new Blocks(BLOCK_BYTES));
  }

  /** Counts a message that comes into the window, or leaves it. */
  #count(message: Message, sign: 1 | -1): void {
    this.#windowBytes += sign * weightOf(message);
    if (sign > 0) return this.#memory.add(message);
    this.#memory.remove(message);
    message.thin = false;
  }

  /** One less waits in memory. */
  #leaveBlocks(): void {
    if (this.#blocks === undefined || this.#window.length - this.#head > FEW_MESSAGES) return;
    this.#blocks = undefined;
    for (let index = this.#head; index < this.#window.length; index++) {
      this.#window[index]!.content?.detach();
    }
  }

  /** The next message, or undefined when there is none or the store cannot be read now. */
  peek(): Message | undefined {
    if (this.#returned.length > 0) return this.#returned.first;
    if (this.#head === this.#window.length) this.#fill();
    return this.#window[this.#head];
  }

  /** Takes the message that {@link peek} showed. */
  shift(): Message {
    if (this.#returned.length > 0) return this.#returned.shift()!;
    const message = this.#window[this.#head]!;
    this.#window[this.#head++] = undefined;
    this.#count(message, -1);
    this.#leaveBlocks();
    if (this.#head === this.#window.length) {
      this.#window.length = this.#head = 0;
    } else if (this.#head > WINDOW_MESSAGES) {
      this.#window = this.#window.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  /** Notes that a message leaves for a consumer. */
  delivered(message: Message): void {
    if (message.position <= this.deliveredTo) return;
    this.deliveredTo = message.position;
    if (this.queueId !== 0) this.#store.delivered(this);
  }

  /** Puts messages back where they were. Their order does not matter. */
  putBack(messages: Message[]): void {
    this.#returned.add(messages);
  }

  #fill(): void {
    this.#isSlow = false;
    if (this.#paged.count === 0) return;
    const average = OVERHEAD_BYTES + this.#paged.bytes / this.#paged.count;
    const bytes = this.#memory.isFull ? SCANT_BATCH_BYTES : BATCH_BYTES;
    const limit = Math.max(1, Math.min(BATCH_MESSAGES, Math.floor(bytes / average)));
    const messages = this.#store.read(this, this.#last, limit);
    for (const message of this.#paged.live(messages ?? [])) {
      if (message.position <= this.#restoredDelivered) message.markRedelivered();
      this.#paged.remove(message);
      this.#enter(message);
    }
    this.#last = messages?.at(-1)?.position ?? this.#last;
    this.#paged.readUpTo(this.#last);
    const hasAll = messages !== undefined && messages.length < limit;
    this.#isSlow = this.#head === this.#window.length && !hasAll;
    if (messages?.length !== limit && this.#store.hasUnreadable(this)) this.#owner.unreadable();
  }

  // -- looking, without taking --

  get view(): LaneView {
    return {
      returned: this.#returned.all,
      window: this.#window,
      head: this.#head,
      last: this.#paged.count > 0 ? this.#last : this.#next - 1,
      next: this.#next,
      read: (after, limit) => this.#readPaged(after, limit),
    };
  }

  /** Up to `limit` messages that wait in the store, behind a position. */
  #readPaged(after: number, limit: number): Message[] {
    for (;;) {
      const read = this.#store.read(this, after, limit) ?? [];
      const ready = this.#paged.live(read);
      if (ready.length > 0 || read.length === 0) return ready;
      after = read.at(-1)!.position;
    }
  }

  /** Whether a message that was read from the store still waits there. */
  isPaged(message: Message): boolean {
    return this.#paged.count > 0 && message.position > this.#last &&
      this.#paged.live([message]).length > 0;
  }

  // -- what cannot be read --

  /** Looking for the next message takes long: behind many that cannot be read, or are dead. */
  get isSlow(): boolean {
    return this.#isSlow;
  }

  /** A message that was taken cannot be read. It stays, and is tried again. */
  setAside(message: Message): void {
    this.#paged.add(message);
    this.#store.setAside(message);
    this.#owner.unreadable();
  }

  /** Tries again to read what could not be read, in pieces: after each there may be more to take. */
  *readAgain(): Generator<void> {
    for (const found of this.#store.readAgain(this)) {
      // Those behind the window come into it when it is filled: now they can be read.
      const messages = this.#paged.live(found.filter(({ position }) => position <= this.#last));
      for (const message of messages) {
        if (message.position <= this.#restoredDelivered) message.markRedelivered();
        this.#paged.remove(message);
      }
      if (messages.length > 0) this.putBack(messages);
      yield;
    }
  }

  get hasUnreadable(): boolean {
    return this.#store.hasUnreadable(this);
  }

  forget(message: Message): void {
    if (this.takeOut(message)) this.#owner.refused(message);
  }

  /** Takes a message out, wherever it stands. @returns whether it was ready */
  takeOut(message: Message): boolean {
    const index = this.#window.indexOf(message, this.#head);
    if (index >= 0) {
      this.#window.splice(index, 1);
      this.#count(message, -1);
      this.#leaveBlocks();
      return true;
    }
    if (this.#returned.delete(message)) return true;
    if (!this.isPaged(message)) return false;
    this.#paged.takeOut(message);
    return true;
  }

  /** Removes all ready messages and returns how many they were. */
  purge(): number {
    const count = this.length;
    const { bytes } = this;
    for (const message of this.#returned.all) this.#store.remove(message);
    for (let index = this.#head; index < this.#window.length; index++) {
      this.#count(this.#window[index]!, -1);
      this.#store.remove(this.#window[index]!);
    }
    if (this.#paged.count > 0) {
      this.#discardPaged(bytes + this.#paged.bytes);
      this.depth -= this.#paged.durable;
      this.bytes -= this.#paged.durableBytes;
      this.#store.changed(this);
    }
    this.#store.discardUnreadable(this);
    this.#window = [];
    this.#blocks = undefined;
    this.#returned.clear();
    this.#head = this.#windowBytes = 0;
    this.#paged.clear();
    this.#last = this.#next - 1;
    return count;
  }

  /** But for the dead, which have a way to go. */
  #discardPaged(bytes: number): void {
    let first = this.#last + 1;
    for (const dead of this.#paged.deadFrom(first)) {
      this.#store.discard(this, first, dead - 1, bytes);
      first = dead + 1;
    }
    this.#store.discard(this, first, this.#next - 1, bytes);
  }

  /** Bytes of all ready messages. */
  #size(): number {
    let bytes = this.#paged.bytes;
    for (const { size } of this.#returned.all) bytes += size;
    for (let index = this.#head; index < this.#window.length; index++) {
      bytes += this.#window[index]!.size;
    }
    return bytes;
  }

  /** The queue is gone: forgets everything, in the store too. */
  drop(): void {
    const bytes = Math.max(this.#size(), this.bytes);
    this.purge();
    this.dropped = true;
    this.#store.dropLane(this, this.#next - 1, bytes);
  }
}
