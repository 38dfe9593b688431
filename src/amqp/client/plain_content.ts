/**
 * Reads what comes with each delivery from the read buffer itself.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which makes views, pairs and names of it: a quarter of
 * the memory that a short task takes.
 */
import type { TaskProperties } from "../../task/task.ts";
import type { FrameBuffer } from "../frame_buffer.ts";
import { ALL_FLAGS, FLAG } from "../property_flags.ts";
import type { IncomingMessage } from "./incoming_message.ts";
import { nameAt, textAt } from "./view.ts";

/** Where frames are read. */
export type ReadBuffer = Pick<FrameBuffer, "bytes" | "view">;

/** Behind class, weight and body size (section 4.2.6.1), and the flags behind that. */
export const PROPERTIES_OFFSET = 12;
const FLAGS_BYTES = 2;

/** These, and what nobody knows, are left to the package. */
const OTHERS = FLAG.headers | FLAG.timestamp | 0xffff & ~ALL_FLAGS;

/**
 * @param message that is new
 * @param start of the arguments of basic.deliver
 * @throws {RangeError} they are too short
 */
export function readDelivery(
  message: IncomingMessage,
  { bytes, view }: ReadBuffer,
  start: number,
  end: number,
): IncomingMessage {
  // Behind the consumer's tag: a channel has one consumer.
  let at = start + 1 + bytes[start]!;
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
  const at = start + PROPERTIES_OFFSET;
  if (at + FLAGS_BYTES > end || (view.getUint16(at) & OTHERS) !== 0) return undefined;
  try {
    return readPlain(bytes, at, end);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Plain properties. @param start of their flags @throws {RangeError} they are not whole */
export function readPlain(bytes: Uint8Array, start: number, end: number): TaskProperties {
  const flags = bytes[start]! << 8 | bytes[start + 1]!;
  let at = start + FLAGS_BYTES;
  const properties: Writable<TaskProperties> = {};
  const step = () => at += 1 + bytes[at]!;
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
  return properties;
}

/**
 * Whether all properties are such as {@linkcode readPlainProperties} reads, and whole; and neither an
 * expiration nor a user among them.
 *
 * @param start of the payload of a content header
 * @returns where the message id is, 0: there is none; undefined: it is not so
 */
export function findPlainId({ bytes, view }: ReadBuffer, start: number, end: number) {
  let at = start + PROPERTIES_OFFSET;
  if (at + FLAGS_BYTES > end) return undefined;
  const flags = view.getUint16(at);
  if ((flags & (OTHERS | FLAG.expiration | FLAG.userId)) !== 0) return undefined;
  at += FLAGS_BYTES;
  let idStart = 0;
  // One beyond the end is undefined, which makes all that follows no number.
  if (flags & FLAG.contentType) at += 1 + bytes[at]!;
  if (flags & FLAG.contentEncoding) at += 1 + bytes[at]!;
  if (flags & FLAG.deliveryMode) at++;
  if (flags & FLAG.priority) at++;
  if (flags & FLAG.correlationId) at += 1 + bytes[at]!;
  if (flags & FLAG.replyTo) at += 1 + bytes[at]!;
  if (flags & FLAG.messageId) {
    if (bytes[at]! > 0) idStart = at;
    at += 1 + bytes[at]!;
  }
  if (flags & FLAG.type) at += 1 + bytes[at]!;
  if (flags & FLAG.appId) at += 1 + bytes[at]!;
  return at <= end ? idStart : undefined;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function byteAt(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throw new RangeError("a property goes beyond the end of its frame");
  return bytes[at]!;
}
