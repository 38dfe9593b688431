/** Messages that the broker itself sends for those who look after it. */

import { addressOf } from "../message/address.ts";
import { Content } from "../message/content.ts";
import type { ContentHeader } from "../message/content_header.ts";
import type { Publication } from "../message/message.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { type Field, type Table, writeTable } from "../wire/fields.ts";
import { BASIC_CLASS } from "../wire/methods.ts";
import { FLAG } from "../../amqp/property_flags.ts";
import { BASIC_PROPERTIES } from "../../amqp/protocol.ts";
import { unedited } from "../../task/edition.ts";
import { HEADER, replayProperties } from "../../task/headers.ts";
import type { Field as TaskField, TaskProperties } from "../../task/task.ts";
import { plain } from "./messages.ts";

/** delivery-mode. */
const PERSISTENT = 2;

/**
 * A persistent message through the default exchange.
 * @param old of the message in whose place it is sent: what is left of them as it was shown stays
 */
export function compose(
  queue: string,
  body: Uint8Array,
  properties: TaskProperties,
  old: Table = new Map(),
): Publication {
  const { expiration, priority = 0 } = properties;
  return {
    content: Content.join(addressOf("", queue), headerOf(body.length, properties, old), body),
    priority,
    persistent: true,
    expiration: expiration === undefined ? undefined : Number(expiration),
  };
}

function headerOf(bodySize: number, properties: TaskProperties, old: Table): Uint8Array {
  const writer = new ByteWriter(512);
  writer.short(BASIC_CLASS);
  writer.short(0);
  writer.longlong(bodySize);
  const flagsAt = writer.length;
  writer.short(0);
  let flags = 0;
  for (const name of SENT) {
    const before = writer.length;
    writeProperty(writer, name, properties, old);
    if (writer.length > before) flags |= FLAG[name];
  }
  writer.bytes[flagsAt] = flags >> 8;
  writer.bytes[flagsAt + 1] = flags & 255;
  return writer.copy();
}

/** Not those by which a user or a cluster would say who it is. */
const SENT = BASIC_PROPERTIES.filter((name) => name !== "userId" && name !== "clusterId");

/** Writes nothing if there is none. */
function writeProperty(
  writer: ByteWriter,
  name: typeof SENT[number],
  properties: TaskProperties,
  old: Table,
): void {
  switch (name) {
    case "deliveryMode":
      return writer.octet(PERSISTENT);
    case "priority":
      return properties.priority === undefined ? undefined : writer.octet(properties.priority);
    case "timestamp": {
      const { timestamp } = properties;
      if (timestamp !== undefined) writer.longlong(Math.floor(timestamp.getTime() / 1_000));
      return;
    }
    case "headers": {
      const { headers } = properties;
      if (headers === undefined) return;
      const table = tableOf(headers);
      for (const same of unedited(headers, plain(old))) table.set(same, old.get(same)!);
      return writeTable(writer, table);
    }
    default: {
      const text = properties[name];
      if (text !== undefined) writer.shortstr(text);
    }
  }
}

/** A dead message as one that was never tried, on its way to a queue. */
export function revive(
  queue: string,
  header: ContentHeader,
  headers: Table,
  dead: Content,
): Publication {
  const before = plain(headers);
  const replays = Number(before[HEADER.replays] ?? 0) || 0;
  const after = replayProperties(
    { headers: before as NonNullable<TaskProperties["headers"]> },
    replays + 1,
  ).headers!;
  const set: Table = new Map();
  for (const [name, value] of Object.entries(after)) {
    if (value !== before[name]) set.set(name, fieldOf(value));
  }
  const drop = [...headers.keys()].filter((name) => !Object.hasOwn(after, name));
  const written = header.rewrite({ dropExpiration: true, drop, set });
  return {
    content: dead.withHeader(written, addressOf("", queue)),
    persistent: true,
    expiration: undefined,
    priority: header.priority ?? 0,
  };
}

/** The arguments of a queue, or headers, as AMQP writes them. */
export function tableOf(values: Readonly<Record<string, TaskField>>): Table {
  return new Map(Object.entries(values).map(([name, value]) => [name, fieldOf(value)]));
}

function fieldOf(value: TaskField): Field {
  switch (typeof value) {
    case "string":
      return { type: "longstr", value };
    case "boolean":
      return { type: "bool", value };
    case "bigint":
      return { type: "long", value };
    case "number":
      if (!Number.isSafeInteger(value)) return { type: "double", value };
      return Math.abs(value) < 2 ** 31
        ? { type: "signedint", value }
        : { type: "long", value: BigInt(value) };
  }
  if (value === null || value === undefined) return { type: "void", value: null };
  if (value instanceof Uint8Array) return { type: "binary", value };
  if (value instanceof Date) {
    return { type: "timestamp", value: BigInt(Math.floor(value.getTime() / 1_000)) };
  }
  if (Array.isArray(value)) return { type: "array", value: value.map(fieldOf) };
  return { type: "table", value: tableOf(value as Record<string, TaskField>) };
}
