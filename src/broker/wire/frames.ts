/** Frames (AMQP 0-9-1 section 4.2.3) taken from and put into byte arrays. */

import { FRAME_END, FRAME_OVERHEAD } from "../../amqp/protocol.ts";
import { ByteWriter } from "./bytes.ts";
import {
  type Arguments,
  BASIC_CLASS,
  BASIC_DELIVER,
  encodeMethod,
  type MethodName,
} from "./methods.ts";

export { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD } from "../../amqp/protocol.ts";
export const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;

/** Puts frames behind one another into a growing buffer. */
export class FrameWriter extends ByteWriter {
  constructor() {
    super(4096);
  }

  method<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void {
    const start = this.#begin(FrameType.method, channel);
    encodeMethod(this, name, args);
    this.#end(start);
  }

  heartbeat(): void {
    this.#end(this.#begin(FrameType.heartbeat, 0));
  }

  /** basic.deliver, without building an object for it. */
  deliver(
    channel: number,
    consumerTag: string,
    deliveryTag: number,
    redelivered: boolean,
    address: Uint8Array,
  ): void {
    const start = this.#begin(FrameType.method, channel);
    this.short(BASIC_CLASS);
    this.short(BASIC_DELIVER);
    this.shortstr(consumerTag);
    this.longlong(deliveryTag);
    this.octet(redelivered ? 1 : 0);
    this.append(address);
    this.#end(start);
  }

  /** A method whose last fields are exchange and routing key, or go before a count behind them. */
  addressed(
    channel: number,
    classAndMethod: number,
    writeStart: (writer: ByteWriter) => void,
    address: Uint8Array,
    messageCount: number | undefined,
  ): void {
    const start = this.#begin(FrameType.method, channel);
    this.long(classAndMethod);
    writeStart(this);
    this.append(address);
    if (messageCount !== undefined) this.long(messageCount);
    this.#end(start);
  }

  /** Content header and body frames. @param frameMax the negotiated limit */
  content(channel: number, header: Uint8Array, body: Uint8Array, frameMax: number): void {
    this.#frame(FrameType.header, channel, header);
    this.body(channel, body, 0, body.length, frameMax);
  }

  /** Body frames from an offset until one ends at or behind `enough`. @returns where it ends */
  body(
    channel: number,
    body: Uint8Array,
    offset: number,
    enough: number,
    frameMax: number,
  ): number {
    const limit = frameMax - FRAME_OVERHEAD;
    for (; offset < enough; offset += limit) {
      this.#frame(FrameType.body, channel, body.subarray(offset, offset + limit));
    }
    return Math.min(offset, body.length);
  }

  #frame(type: number, channel: number, payload: Uint8Array): void {
    const start = this.#begin(type, channel);
    this.append(payload);
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
