/**
 * Reads what comes with each delivery from the read buffer itself.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which makes views, pairs and names of it: a quarter of
 * the memory that a short task takes.
 */
import { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import type { TaskProperties } from "../../task/task.ts";
import type { FrameBuffer } from "../frame_buffer.ts";
import { ALL_FLAGS, FLAG } from "../property_flags.ts";
import { nameAt, textAt } from "./view.ts";

/** Where frames are read. */
export type ReadBuffer = Pick<FrameBuffer, "bytes" | "view">;

/** Behind class, weight and body size (section 4.2.6.1), and the flags behind that. */
const PROPERTIES_OFFSET = 12;
const FLAGS_BYTES = 2;

/** These, and what nobody knows, are left to the package. */
const OTHERS = FLAG.headers | FLAG.timestamp | 0xffff & ~ALL_FLAGS;

/** @param start of the arguments of basic.deliver @throws {RangeError} they are too short */
export function readDelivery(
  channel: AMQPChannel,
  { bytes, view }: ReadBuffer,
  start: number,
  end: number,
): AMQPMessage {
  const message = new AMQPMessage(channel);
  let at = start;
  message.consumerTag = nameAt(bytes, at, end);
  at += 1 + bytes[at]!;
  if (at + 9 > end) throw new RangeError("basic.deliver is too short");
  message.deliveryTag = view.getUint32(at) * 0x100000000 + view.getUint32(at + 4);
  message.redelivered = bytes[at + 8] === 1;
  at += 9;
  message.exchange = nameAt(bytes, at, end);
  at += 1 + bytes[at]!;
  message.routingKey = nameAt(bytes, at, end);
  return message;
}

/** Bytes of the body that a content header announces. @throws {RangeError} it is too short */
export function bodySizeOf({ view }: ReadBuffer, start: number, end: number): number {
  if (start + PROPERTIES_OFFSET > end) throw new RangeError("a content header is too short");
  return view.getUint32(start + 4) * 0x100000000 + view.getUint32(start + 8);
}

/**
 * The properties of a content header.
 *
 * @param start of its payload
 * @returns undefined: it has others than most have, or is not whole
 */
export function readPlainProperties(
  { bytes, view }: ReadBuffer,
  start: number,
  end: number,
): TaskProperties | undefined {
  let at = start + PROPERTIES_OFFSET;
  if (at + FLAGS_BYTES > end) return undefined;
  const flags = view.getUint16(at);
  if ((flags & OTHERS) !== 0) return undefined;
  at += FLAGS_BYTES;
  const properties: Writable<TaskProperties> = {};
  const step = () => at += 1 + bytes[at]!;
  try {
    if (flags & FLAG.contentType) properties.contentType = nameAt(bytes, at, end), step();
    if (flags & FLAG.contentEncoding) properties.contentEncoding = nameAt(bytes, at, end), step();
    if (flags & FLAG.deliveryMode) properties.deliveryMode = byteAt(bytes, at++, end);
    if (flags & FLAG.priority) properties.priority = byteAt(bytes, at++, end);
    if (flags & FLAG.correlationId) properties.correlationId = textAt(bytes, at, end), step();
    if (flags & FLAG.replyTo) properties.replyTo = nameAt(bytes, at, end), step();
    if (flags & FLAG.expiration) properties.expiration = nameAt(bytes, at, end), step();
    if (flags & FLAG.messageId) properties.messageId = textAt(bytes, at, end), step();
    if (flags & FLAG.type) properties.type = nameAt(bytes, at, end), step();
    if (flags & FLAG.userId) properties.userId = nameAt(bytes, at, end), step();
    if (flags & FLAG.appId) properties.appId = nameAt(bytes, at, end), step();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return properties;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function byteAt(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throw new RangeError("a property goes beyond the end of its frame");
  return bytes[at]!;
}
