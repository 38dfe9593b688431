/**
 * The content of a message: address (exchange and routing key as two short strings, as basic.publish
 * and basic.deliver carry them), content header payload, body. They lie behind one another, so that
 * it is copied, stored and sent as a whole. Small ones lie in an array with others, and have no view
 * of their own, which takes about as long to be made as the copy. The body of a very large one may lie
 * in the store, and is never in memory as a whole.
 */

import { Blocks, received } from "./content_memory.ts";
import { copyBytes } from "../wire/bytes.ts";
import { CHUNK_BYTES, CHUNKED_FROM, type StoredBody } from "./stored_body.ts";

/**
 * Bytes from which on a stored content stays in the store until it is sent, and its memory is given
 * back at once, not when garbage is collected.
 */
export const LARGE_BYTES = 16 * 1024;

const NOTHING = new Uint8Array(0);

/** What is known of a content without its bytes. */
export interface ContentLengths {
  /** Bytes of address, header and body together. */
  readonly size: number;
  readonly addressLength: number;
  readonly headerLength: number;
}

/** Of a content that several messages have: its bytes count once. */
export interface Sharing {
  /** How many messages in memory have it. Written by the memory of the queues. */
  messages: number;
}

export class Content implements ContentLengths {
  readonly addressLength: number;
  readonly headerLength: number;
  #array: Uint8Array;
  #start: number;
  #size: number;
  #sharing: Sharing | undefined = undefined;
  /** Of a shared one: how many will give it up, messages and those who make more of them. */
  #holders = 0;
  /** How many are sending its bytes from where they are. */
  #borrowers = 0;
  #isGivenUp = false;
  /** Its body, if that is in the store; the array has what goes before it. */
  #stored: StoredBody | undefined = undefined;
  /** It keeps its body in the store until it is given up. */
  #holdsStored = false;
  /** A message has it, or had it. */
  #isHeld = false;

  /**
   * @param array with address, header and body behind one another, which must not change any more
   * @param start where in the array they are @param size and how many bytes
   */
  constructor(
    array: Uint8Array,
    addressLength: number,
    headerLength: number,
    start = 0,
    size = array.length,
  ) {
    this.#array = array;
    this.#start = start;
    this.#size = size;
    this.addressLength = addressLength;
    this.headerLength = headerLength;
  }

  static join(address: Uint8Array, header: Uint8Array, body: Uint8Array): Content {
    const headerEnd = address.length + header.length;
    const size = headerEnd + body.length;
    const isSmall = Blocks.hasRoomFor(size);
    const start = isSmall ? received.take(size) : 0;
    const array = isSmall ? received.array : new Uint8Array(size);
    copyBytes(address, 0, address.length, array, start);
    copyBytes(header, 0, header.length, array, start + address.length);
    copyBytes(body, 0, body.length, array, start + headerEnd);
    return new Content(array, address.length, header.length, start, size);
  }

  /**
   * One whose body is in the store.
   * @param array with address and header
   * @param holds whether it keeps the body there until it is given up: no message may have it else
   */
  static stored(
    array: Uint8Array,
    addressLength: number,
    headerLength: number,
    body: StoredBody,
    holds: boolean,
  ): Content {
    const content = new Content(array, addressLength, headerLength);
    content.#stored = body;
    content.#holdsStored = holds;
    if (holds) body.hold();
    return content;
  }

  /** Where its bytes are, from {@link start} on. */
  get array(): Uint8Array {
    return this.#array;
  }

  get start(): number {
    return this.#start;
  }

  get size(): number {
    return this.#stored === undefined ? this.#size : this.#size + this.#stored.length;
  }

  /** Undefined: its body is in memory. */
  get stored(): StoredBody | undefined {
    return this.#stored;
  }

  /** Whether its body is in chunks, or will be: it stays so when a shorter header makes it smaller. */
  get isChunked(): boolean {
    return this.#stored !== undefined || this.#size >= CHUNKED_FROM;
  }

  /** Its bytes in memory alone: a view, which is made each time. */
  get bytes(): Uint8Array {
    return this.#part(0, this.#size);
  }

  /** Address and header. */
  get head(): Uint8Array {
    return this.#part(0, this.headerEnd);
  }

  #part(from: number, to: number): Uint8Array {
    if (to - from === this.#array.length) return this.#array;
    return this.#array.subarray(this.#start + from, this.#start + to);
  }

  /** Where the header ends and the body begins. */
  get headerEnd(): number {
    return this.addressLength + this.headerLength;
  }

  get bodyLength(): number {
    return this.size - this.headerEnd;
  }

  get address(): Uint8Array {
    return this.#part(0, this.addressLength);
  }

  get header(): Uint8Array {
    return this.#part(this.addressLength, this.headerEnd);
  }

  /** All of it, which may be very much. */
  get body(): Uint8Array {
    if (this.#stored === undefined) return this.#part(this.headerEnd, this.#size);
    const body = new Uint8Array(this.bodyLength);
    for (let at = 0; at < body.length; at += CHUNK_BYTES) body.set(this.chunk(at), at);
    return body;
  }

  /** A part of its body, from a multiple of {@link CHUNK_BYTES} on. */
  chunk(from: number): Uint8Array {
    if (this.#stored !== undefined) return this.#stored.read(from);
    const start = this.headerEnd + from;
    return this.#part(start, Math.min(start + CHUNK_BYTES, this.#size));
  }

  /** The same with another header, and another address. */
  withHeader(header: Uint8Array, address = this.address): Content {
    if (this.#stored === undefined) return Content.join(address, header, this.body);
    const head = Content.join(address, header, NOTHING);
    return Content.stored(head.bytes.slice(), address.length, header.length, this.#stored, true);
  }

  /** The same, whose body is in the store. */
  withStored(body: StoredBody): Content {
    return Content.stored(this.head.slice(), this.addressLength, this.headerLength, body, true);
  }

  /** Whether its bytes have an array for themselves. */
  get isDetached(): boolean {
    return this.#size === this.#array.buffer.byteLength;
  }

  /** Takes the bytes out of an array that they share with those of messages that may go sooner. */
  detach(): void {
    if (!this.isDetached) this.#lieIn(this.#array.slice(this.#start, this.#start + this.#size), 0);
  }

  #lieIn(array: Uint8Array, start: number): void {
    this.#array = array;
    this.#start = start;
  }

  /** The same, but from now on they share one with those of messages that go about when it goes. */
  moveTo(blocks: Blocks): void {
    const to = blocks.take(this.#size);
    blocks.array.set(this.bytes, to);
    this.#lieIn(blocks.array, to);
  }

  /** Prepares it for several messages. Whoever does that gives it up when all of them are made. */
  share(): void {
    this.detach();
    this.#sharing ??= { messages: 0 };
    this.#holders++;
  }

  /** One more message has it that will give it up. */
  hold(): void {
    this.#isHeld = true;
    if (this.#sharing !== undefined) this.#holders++;
  }

  // A large array outlives its content for long: it weighs next to nothing where V8 looks for garbage.

  /** Somebody sends its bytes. @returns whether nobody else does */
  lend(): boolean {
    if (this.#borrowers++ > 0) return false;
    this.#stored?.hold();
    return true;
  }

  giveBack(): boolean {
    if (--this.#borrowers > 0) return false;
    this.#stored?.letGo();
    this.#free();
    return true;
  }

  /**
   * One of those who hold a shared one, or the only one who has it, will not ask for its bytes any
   * more. When nobody does, but those they are lent to, their memory is given back.
   */
  giveUp(): void {
    if (this.#holders > 0) this.#holders--;
    this.#isGivenUp = this.#holders === 0;
    this.#free();
  }

  /**
   * The only queue that it was published to has not taken it, or there is none. If a dead letter has
   * it, or others may take it, they give it up.
   */
  notTaken(): void {
    if (!this.#isHeld && this.#sharing === undefined) this.giveUp();
  }

  #free(): void {
    if (!this.#isGivenUp || this.#borrowers > 0) return;
    if (this.#holdsStored) {
      this.#holdsStored = false;
      this.#stored!.letGo();
    }
    if (this.#size < LARGE_BYTES || !this.isDetached) return;
    (this.#array.buffer as ArrayBuffer).transfer(0);
    this.#lieIn(NOTHING, 0);
    this.#size = 0;
  }

  /** Undefined: one message has it. */
  get sharing(): Sharing | undefined {
    return this.#sharing;
  }
}
