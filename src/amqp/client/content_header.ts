/**
 * The header of incoming content: the size of its body and its properties (section 4.2.6.1).
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which ends the connection at a header that it cannot
 * read.
 */
import type { TaskProperties } from "../../task/task.ts";
import { protocolError } from "../frame_buffer.ts";
import {
  bodySizeOf,
  PROPERTIES_OFFSET,
  type ReadBuffer,
  readPlainProperties,
} from "./plain_content.ts";
import { FLAG } from "../property_flags.ts";
import { AMQPView } from "./view.ts";

/** RabbitMQ's hard limit for a message; memory is set aside from the announced size. */
const MAX_BODY_BYTES = 512 * 1024 * 1024;

export interface ContentHeader {
  readonly bodySize: number;
  readonly properties: TaskProperties;
  /** Where they begin in the frame's payload; undefined where not all could be read. */
  readonly propertiesOffset: number | undefined;
}

/**
 * Reads the payload of a content header frame.
 *
 * Headers that cannot be read (a field type that nobody specified) become empty ones, and if that
 * does not help, all properties do: one odd task must not end the connection of every worker it is
 * delivered to in turn.
 *
 * @param start of it in the buffer
 * @throws {ConnectionError} the announced body is too large
 * @throws {RangeError} the frame is too short
 */
export function readContentHeader(
  frames: ReadBuffer,
  start: number,
  end: number,
): ContentHeader {
  const bodySize = requireBodySize(frames, start, end);
  const plain = readPlainProperties(frames, start, end);
  if (plain !== undefined) {
    return { bodySize, properties: plain, propertiesOffset: PROPERTIES_OFFSET };
  }
  const { buffer, byteOffset } = frames.bytes;
  const view = new AMQPView(buffer, byteOffset + start, end - start);
  for (const attempt of [view, withoutHeaders]) {
    try {
      const readable = typeof attempt === "function" ? attempt(view) : attempt;
      const [properties] = readable.getProperties(PROPERTIES_OFFSET);
      // One that no date can hold (microseconds for seconds, say) means nothing to anybody.
      if (Number.isNaN(properties.timestamp?.getTime())) delete properties.timestamp;
      const whole = attempt === view;
      return { bodySize, properties, propertiesOffset: whole ? PROPERTIES_OFFSET : undefined };
    } catch {
      // The next attempt asks for less.
    }
  }
  return { bodySize, properties: {}, propertiesOffset: undefined };
}

/**
 * Bytes of the body that it announces.
 *
 * @throws {ConnectionError} they are too many
 * @throws {RangeError} the frame is too short
 */
export function requireBodySize(frames: ReadBuffer, start: number, end: number): number {
  const bodySize = bodySizeOf(frames, start, end);
  if (bodySize <= MAX_BODY_BYTES) return bodySize;
  throw protocolError(`a body must be at most ${MAX_BODY_BYTES} bytes, and one has ${bodySize}`);
}

/** The same content header with an empty headers table. */
function withoutHeaders(view: AMQPView): AMQPView {
  const flags = view.getUint16(PROPERTIES_OFFSET);
  let table = PROPERTIES_OFFSET + 2;
  if ((flags & FLAG.contentType) !== 0) table += view.getShortString(table)[1];
  if ((flags & FLAG.contentEncoding) !== 0) table += view.getShortString(table)[1];
  const rest = table + 4 + view.getUint32(table);
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const shorter = new Uint8Array(table + 4 + bytes.length - rest);
  shorter.set(bytes.subarray(0, table));
  shorter.set(bytes.subarray(rest), table + 4);
  return new AMQPView(shorter.buffer);
}
