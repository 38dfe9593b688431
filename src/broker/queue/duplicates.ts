/**
 * Which messages a queue has had (`x-message-deduplication`): another one with the same value of a
 * header is dropped. The last values are remembered, whatever has become of their messages, and over
 * a restart those of durable messages.
 */

import { now } from "../../time/clock.ts";
import { ContentHeader } from "../message/content_header.ts";
import type { Message, Publication } from "../message/message.ts";
import type { SeenKeys } from "../store/messages/seen_keys.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { integerOf, writeField } from "../wire/fields.ts";
import type { DuplicateArguments } from "./arguments.ts";
import type { KeyMemory, KeyOwner } from "./key_memory.ts";

/** Longest key that is remembered; of longer ones nobody knows. With the type of its field. */
const MAX_KEY_BYTES = 260;

/** A key as it came. */
export interface Key {
  readonly bytes: Uint8Array;
  /** The same, to be found by. */
  readonly name: string;
  /** Milliseconds; undefined: for as long as there is room. */
  readonly ttl: number | undefined;
}

interface Seen {
  readonly id: number;
  readonly expiresAt: number;
  /** It is stored, as its message was. */
  readonly durable: boolean;
}

export class Duplicates implements KeyOwner {
  keyBytes = 0;
  readonly #arguments: DuplicateArguments;
  readonly #queue: { readonly id: number; readonly name: string };
  readonly #store: SeenKeys;
  readonly #memory: KeyMemory;
  /** Oldest first. */
  readonly #seen = new Map<string, Seen>();
  /** Of messages of which nobody knows yet whether they can be stored. */
  readonly #names = new WeakMap<Message, string>();
  #lastId = 0;
  /** What an entry of x-death has that says so, encoded. */
  readonly #diedHere: Uint8Array;

  /** @param queue its row id, or 0 for one that does not survive a restart */
  constructor(
    args: DuplicateArguments,
    queue: { readonly id: number; readonly name: string },
    store: SeenKeys,
    memory: KeyMemory,
  ) {
    this.#arguments = args;
    this.#queue = queue;
    this.#store = store;
    this.#memory = memory;
    const death = new ByteWriter();
    death.shortstr("queue");
    writeField(death, { type: "longstr", value: queue.name });
    this.#diedHere = death.copy();
    if (queue.id === 0) return;
    for (const { id, key, expiresAt } of store.stored(queue.id)) {
      const name = nameOf(key);
      // A file may be damaged, and have a key twice.
      this.#remove(name);
      this.#seen.set(name, { id, expiresAt, durable: true });
      this.#lastId = id;
      memory.add(this, name.length);
    }
    this.#makeRoom(0);
  }

  /**
   * What tells a message from others; undefined: nothing of at most 255 bytes does, or the queue
   * has had it before and gets it back as a dead letter.
   */
  keyOf({ content }: Publication): Key | undefined {
    const header = new ContentHeader().scanOf(content);
    const field = header.field(this.#arguments.header);
    if (field === undefined || field.type === "void") return undefined;
    if (header.hasInArray("x-death", this.#diedHere)) return undefined;
    const writer = new ByteWriter(64);
    writeField(writer, field);
    const bytes = writer.copy();
    if (bytes.length > MAX_KEY_BYTES) return undefined;
    const own = integerOf(header.field("x-cache-ttl"));
    const ttl = own !== undefined && own >= 0 ? own : this.#arguments.ttl;
    return { bytes, name: nameOf(bytes), ttl };
  }

  /** @param durable a message that is stored is no duplicate of one that was not */
  has({ name }: Key, durable: boolean): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || (durable && !seen.durable)) return false;
    return seen.expiresAt === 0 || seen.expiresAt > now();
  }

  /** Whether the queue would drop it. @param durable it would be stored */
  isDuplicate(publication: Publication, durable: boolean): boolean {
    const key = this.keyOf(publication);
    return key !== undefined && this.has(key, durable);
  }

  /** The queue has taken a message. */
  add({ bytes, name, ttl }: Key, message: Message): void {
    this.#remove(name);
    this.#makeRoom(1);
    const id = ++this.#lastId;
    const expiresAt = ttl === undefined ? 0 : Math.max(1, now() + ttl);
    const durable = message.durable && this.#queue.id !== 0;
    this.#seen.set(name, { id, expiresAt, durable });
    this.#names.set(message, name);
    if (durable) this.#store.add(this.#queue.id, { id, key: bytes, expiresAt });
    this.#memory.add(this, name.length);
  }

  /** The store has refused a message: it may come again. */
  forget(message: Message): void {
    const name = this.#names.get(message);
    if (name !== undefined) this.#remove(name);
  }

  /** The queue is gone. */
  drop(): void {
    if (this.#queue.id !== 0) this.#store.removeQueue(this.#queue.id);
    this.#seen.clear();
    this.#memory.removeAll(this);
  }

  forgetOldest(): void {
    const { value: name } = this.#seen.keys().next();
    if (name !== undefined) this.#remove(name);
  }

  #makeRoom(more: number): void {
    for (const name of this.#seen.keys()) {
      if (this.#seen.size + more <= this.#arguments.size) return;
      this.#remove(name);
    }
  }

  #remove(name: string): void {
    const seen = this.#seen.get(name);
    if (seen === undefined) return;
    this.#seen.delete(name);
    this.#memory.remove(this, name.length);
    if (seen.durable) this.#store.remove(this.#queue.id, seen.id);
  }
}

function nameOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
