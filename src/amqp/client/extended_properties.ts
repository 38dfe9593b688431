/**
 * Properties of a copy that has a few headers more than its original, from bytes to bytes: nothing
 * of the original is decoded, nor written anew.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which writes properties from decoded values alone.
 */
import type { TaskProperties } from "../../task/task.ts";
import { ALL_FLAGS, FLAG } from "../property_flags.ts";
import { AMQPView } from "./view.ts";

const FLAGS_BYTES = 2;
const TABLE_SIZE_BYTES = 4;
/** With any other a copy is not merely an extension. */
const KNOWN = ALL_FLAGS & ~(FLAG.expiration | FLAG.userId);
const PERSISTENT = 2;

/** Overwritten by every copy, and what the last one took of it: most are as long as the one before. */
let scratch = new Uint8Array(1_024);
let last = scratch;

/** For tables; the largest frame has no more room. */
let tables: AMQPView | undefined;

/** Fields of a headers table, as bytes. @throws {RangeError} no frame holds them */
export function encodeFields(headers: NonNullable<TaskProperties["headers"]>): Uint8Array {
  tables ??= new AMQPView(new ArrayBuffer(131_072));
  const end = tables.setTable(0, headers);
  return new Uint8Array(tables.buffer, TABLE_SIZE_BYTES, end - TABLE_SIZE_BYTES).slice();
}

/**
 * @param received properties of the original, flags included
 * @param fields that its headers get, none of which they have
 * @param id for one that has none; at most 255 bytes
 * @param start where they are, if they are part of an array for many
 * @returns properties of a persistent copy, good until the next call; undefined where the original
 *   has more than goes along as it is: an expiration, a user, a cluster
 */
export function extendProperties(
  received: Uint8Array,
  fields: Uint8Array,
  id: Uint8Array | undefined,
  start = 0,
  end = received.length,
): Uint8Array | undefined {
  const flags = received[start]! << 8 | received[start + 1]!;
  if ((flags & ~KNOWN) !== 0) return undefined;
  const most = end - start + TABLE_SIZE_BYTES + fields.length + 2 + (id?.length ?? 0);
  if (scratch.length < most) scratch = new Uint8Array(most);
  const target = scratch;
  const headers = skip(
    received,
    flags & FLAG.contentEncoding,
    skip(received, flags & FLAG.contentType, start + FLAGS_BYTES),
  );
  const table = copy(target, FLAGS_BYTES, received, start + FLAGS_BYTES, headers);
  let at = table + TABLE_SIZE_BYTES;
  let from = headers;
  if ((flags & FLAG.headers) !== 0) {
    const size = received[from]! * 0x1000000 + (received[from + 1]! << 16) +
      (received[from + 2]! << 8) + received[from + 3]!;
    from += TABLE_SIZE_BYTES;
    target.set(received.subarray(from, from + size), at);
    from += size;
    at += size;
  }
  target.set(fields, at);
  at += fields.length;
  const size = at - table - TABLE_SIZE_BYTES;
  for (let i = 0; i < TABLE_SIZE_BYTES; i++) target[table + i] = size >>> (24 - 8 * i);
  if ((flags & FLAG.deliveryMode) !== 0) from++;
  target[at++] = PERSISTENT;
  let missing = 0;
  if (id !== undefined) {
    const priority = (flags & FLAG.priority) === 0 ? from : from + 1;
    const before = skip(
      received,
      flags & FLAG.replyTo,
      skip(received, flags & FLAG.correlationId, priority),
    );
    at = copy(target, at, received, from, before);
    from = before;
    const isThere = (flags & FLAG.messageId) !== 0;
    if (!isThere || received[from] === 0) {
      if (isThere) from++;
      target[at++] = id.length;
      target.set(id, at);
      at += id.length;
      missing = FLAG.messageId;
    }
  }
  at = copy(target, at, received, from, end);
  const all = flags | missing | FLAG.headers | FLAG.deliveryMode;
  target[0] = all >> 8;
  target[1] = all & 0xff;
  if (last.buffer !== target.buffer || last.length !== at) last = target.subarray(0, at);
  return last;
}

/** Where what is behind a short string begins. @param isThere 0: there is none */
function skip(bytes: Uint8Array, isThere: number, at: number): number {
  return isThere === 0 ? at : at + 1 + bytes[at]!;
}

/** Calls of `set` cost more than so few bytes. @returns where they end in the target */
function copy(
  target: Uint8Array,
  at: number,
  bytes: Uint8Array,
  from: number,
  end: number,
): number {
  while (from < end) target[at++] = bytes[from++]!;
  return at;
}
