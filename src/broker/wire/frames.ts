/** Frames (AMQP 0-9-1 section 4.2.3) taken from and put into byte arrays. */

import { FRAME_END, FRAME_OVERHEAD } from "../../amqp/protocol.ts";
import { ByteWriter } from "./bytes.ts";
import { encodeMethod } from "./method_codec.ts";
import {
  type Arguments,
  BASIC_CLASS,
  BASIC_DELIVER,
  idsOf,
  type MethodName,
  type PlainName,
  type PromiseName,
} from "./methods.ts";

export { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD } from "../../amqp/protocol.ts";
export const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;

/** Puts frames behind one another into a growing buffer. */
export class FrameWriter extends ByteWriter {
  constructor() {
    super(4096);
  }

  method<N extends PlainName>(channel: number, name: N, args: Arguments<N>): void {
    this.#method(channel, name, args);
  }

  /** A method that promises something durable: it must not leave before that is on disk. */
  promise<N extends PromiseName>(channel: number, name: N, args: Arguments<N>): void {
    this.#method(channel, name, args);
  }

  #method<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void {
    const start = this.#begin(FrameType.method, channel);
    encodeMethod(this, name, args);
    this.#end(start);
  }

  heartbeat(): void {
    this.#end(this.#begin(FrameType.heartbeat, 0));
  }

  /**
   * basic.deliver, without building an object for it.
   * @param consumerTag as a short string @param array has the address of the content at `start`
   */
  deliver(
    channel: number,
    consumerTag: Uint8Array,
    deliveryTag: number,
    redelivered: boolean,
    array: Uint8Array,
    start: number,
    addressLength: number,
  ): void {
    const begin = this.#begin(FrameType.method, channel);
    this.short(BASIC_CLASS);
    this.short(BASIC_DELIVER);
    this.appendPart(consumerTag, 0, consumerTag.length);
    this.longlong(deliveryTag);
    this.octet(redelivered ? 1 : 0);
    this.appendPart(array, start, start + addressLength);
    this.#end(begin);
  }

  /** A method whose last fields are exchange and routing key, or go before a count behind them. */
  addressed(
    channel: number,
    name: "basic.return" | "basic.get-ok",
    writeStart: (writer: ByteWriter) => void,
    address: Uint8Array,
    messageCount: number | undefined,
  ): void {
    const start = this.#begin(FrameType.method, channel);
    const { classId, methodId } = idsOf(name);
    this.short(classId);
    this.short(methodId);
    writeStart(this);
    this.append(address);
    if (messageCount !== undefined) this.long(messageCount);
    this.#end(start);
  }

  /** A content header, which is a part of an array. */
  header(channel: number, bytes: Uint8Array, start: number, end: number): void {
    this.#frame(FrameType.header, channel, bytes, start, end);
  }

  /**
   * Body frames of an array from an offset until one ends at or behind `enough`.
   * @param frameMax the negotiated limit
   * @param last where the body ends
   * @returns where it ends
   */
  body(
    channel: number,
    bytes: Uint8Array,
    offset: number,
    enough: number,
    frameMax: number,
    last = bytes.length,
  ): number {
    const limit = frameMax - FRAME_OVERHEAD;
    for (; offset < enough; offset += limit) {
      const end = Math.min(offset + limit, last);
      this.#frame(FrameType.body, channel, bytes, offset, end);
    }
    return Math.min(offset, last);
  }

  #frame(type: number, channel: number, bytes: Uint8Array, from: number, to: number): void {
    const start = this.#begin(type, channel);
    this.appendPart(bytes, from, to);
    this.#end(start);
  }

  #begin(type: number, channel: number): number {
    this.reserve(FRAME_OVERHEAD);
    this.octet(type);
    this.short(channel);
    this.long(0);
    return this.length;
  }

  #end(start: number): void {
    this.patchLong(start - 4, this.length - start);
    this.octet(FRAME_END);
  }
}
