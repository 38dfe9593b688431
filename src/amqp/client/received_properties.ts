/**
 * The properties of a message as bytes (section 4.2.6.1). A copy takes over byte for byte what it
 * does not change, and ids are compared as bytes.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which gives properties as decoded values alone. These
 * keep neither bytes that are no UTF-8 nor every type (decimals, single floats).
 */
import type { ReceivedTask, TaskProperties } from "../../task/task.ts";
import { BASIC_PROPERTIES, type BasicProperty } from "../protocol.ts";
import { AMQPView } from "./view.ts";

type Name = Exclude<BasicProperty, "clusterId">;
/** The last one, clusterId, is for brokers among themselves, and the package does not know it. */
const NAMES = BASIC_PROPERTIES.filter((name): name is Name => name !== "clusterId");

const FLAGS_BYTES = 2;
const TABLE_SIZE_BYTES = 4;
const BYTES_OF: Partial<Record<Name, number>> = { deliveryMode: 1, priority: 1, timestamp: 8 };
/** What a decoder puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";

/** The message that another one is a copy of. */
export type Original = Pick<ReceivedTask, "properties" | "receivedProperties">;

/** What was received, in pieces. */
interface Pieces {
  readonly properties: ReadonlyMap<Name, Uint8Array>;
  /** Decoded names, which may come twice, with the bytes of name, type and value. */
  readonly headers: readonly (readonly [name: string, bytes: Uint8Array])[];
}

/** Overwritten by every copy. */
let scratch = new AMQPView(new ArrayBuffer(0));

/**
 * Writes the properties of a copy: what it has in common with its original as the original's bytes.
 *
 * @param encodable makes a table of one that the package writes without loss
 * @returns the bytes written
 * @throws {RangeError} the view is too small
 */
export function writeCopy(
  view: AMQPView,
  start: number,
  copy: TaskProperties,
  original: Original & { readonly receivedProperties: Uint8Array },
  encodable: (headers: NonNullable<TaskProperties["headers"]>) => TaskProperties["headers"],
): number {
  const received = readPieces(original.receivedProperties);
  const target = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if (scratch.byteLength < view.byteLength) {
    scratch = new AMQPView(new ArrayBuffer(view.byteLength));
  }
  let flags = 0;
  let at = start + FLAGS_BYTES;
  function append(bytes: Uint8Array): void {
    target.set(bytes, at);
    at += bytes.length;
  }
  function encoded(properties: TaskProperties): Uint8Array {
    const end = scratch.setProperties(0, properties);
    return new Uint8Array(scratch.buffer, FLAGS_BYTES, end - FLAGS_BYTES);
  }
  for (let bit = 0; bit < NAMES.length; bit++) {
    const name = NAMES[bit]!;
    const before = at;
    const bytes = received.properties.get(name);
    // What could not be read is neither here nor there, and its bytes go along.
    if (copy[name] === undefined && (bytes === undefined || original.properties[name])) continue;
    if (name === "headers") {
      const { headers } = copy;
      if (headers === undefined) continue;
      const kept = received.headers.filter(([header]) =>
        isSame(headers, original.properties.headers ?? {}, header)
      );
      const keptNames = new Set(kept.map(([header]) => header));
      const others = Object.entries(headers).filter(([header]) => !keptNames.has(header));
      append(encoded({ headers: encodable(Object.fromEntries(others))! }));
      for (const [, field] of kept) append(field);
      view.setUint32(before, at - before - TABLE_SIZE_BYTES);
    } else if (bytes !== undefined && Object.is(copy[name], original.properties[name])) {
      append(bytes);
    } else {
      append(encoded({ [name]: copy[name] }));
    }
    if (at > before) flags |= 0x8000 >> bit;
  }
  view.setUint16(start, flags);
  return at - start;
}

/** The id as it was sent: two that are not UTF-8 may look alike. */
export function idBytes({ id, receivedProperties }: ReceivedTask): Uint8Array {
  const received = receivedProperties !== undefined && id.includes(REPLACEMENT)
    ? readPieces(receivedProperties).properties.get("messageId")
    : undefined;
  return received?.subarray(1) ?? new TextEncoder().encode(id);
}

/** Both tables have one and the same value of that name. */
function isSame(
  copy: NonNullable<TaskProperties["headers"]>,
  original: NonNullable<TaskProperties["headers"]>,
  name: string,
): boolean {
  return Object.hasOwn(copy, name) && Object.hasOwn(original, name) &&
    Object.is(copy[name], original[name]);
}

function readPieces(bytes: Uint8Array): Pieces {
  const view = new AMQPView(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  const flags = view.getUint16(0);
  const properties = new Map<Name, Uint8Array>();
  const headers: [string, Uint8Array][] = [];
  let at = FLAGS_BYTES;
  for (const [bit, name] of NAMES.entries()) {
    if ((flags & (0x8000 >> bit)) === 0) continue;
    const from = at;
    if (name === "headers") {
      at += TABLE_SIZE_BYTES + view.getUint32(at);
      for (let field = from + TABLE_SIZE_BYTES; field < at;) {
        const begin = field;
        const [header, length] = view.getShortString(field);
        field += length;
        field += view.getField(field)[1];
        headers.push([header, bytes.subarray(begin, field)]);
      }
    } else {
      at += BYTES_OF[name] ?? 1 + bytes[at]!;
    }
    properties.set(name, bytes.subarray(from, at));
  }
  return { properties, headers };
}
