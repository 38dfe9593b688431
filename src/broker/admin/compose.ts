/** Messages that the broker itself sends for those who look after it. */

import { addressOf } from "../message/address.ts";
import { Content } from "../message/content.ts";
import type { ContentHeader } from "../message/content_header.ts";
import type { Publication } from "../message/message.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { type Field, type Table, writeTable } from "../wire/fields.ts";
import { BASIC_CLASS } from "../wire/methods.ts";
import { FLAG } from "../../amqp/property_flags.ts";
import { unedited } from "../../task/edition.ts";
import { HEADER, replayProperties } from "../../task/headers.ts";
import type { Field as TaskField, TaskProperties } from "../../task/task.ts";
import { plain } from "./messages.ts";

const SHORT_STRINGS = [
  "contentType",
  "contentEncoding",
  "correlationId",
  "replyTo",
  "expiration",
  "messageId",
  "type",
  "appId",
] as const;

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
  const { headers, priority, timestamp } = properties;
  let flags: number = FLAG.deliveryMode;
  if (headers !== undefined) flags |= FLAG.headers;
  if (priority !== undefined) flags |= FLAG.priority;
  if (timestamp !== undefined) flags |= FLAG.timestamp;
  for (const name of SHORT_STRINGS) {
    if (properties[name] !== undefined) flags |= FLAG[name];
  }
  const text = (name: typeof SHORT_STRINGS[number]) => {
    const value = properties[name];
    if (value !== undefined) writer.shortstr(value);
  };
  writer.short(flags);
  text("contentType");
  text("contentEncoding");
  if (headers !== undefined) {
    const table = tableOf(headers);
    for (const name of unedited(headers, plain(old))) table.set(name, old.get(name)!);
    writeTable(writer, table);
  }
  writer.octet(2);
  if (priority !== undefined) writer.octet(priority);
  text("correlationId");
  text("replyTo");
  text("expiration");
  text("messageId");
  if (timestamp !== undefined) writer.longlong(Math.floor(timestamp.getTime() / 1_000));
  text("type");
  text("appId");
  return writer.copy();
}

/** A dead message as one that was never tried, on its way to a queue. */
export function revive(
  queue: string,
  header: ContentHeader,
  headers: Table,
  body: Uint8Array,
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
    content: Content.join(addressOf("", queue), written, body),
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
