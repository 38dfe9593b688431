/** Messages as people see them. */

import { encodeBase64 } from "../../observe/base64.ts";
import { readAddress } from "../message/address.ts";
import type { Content } from "../message/content.ts";
import { ContentHeader } from "../message/content_header.ts";
import type { Message } from "../message/message.ts";
import type { Place } from "../queue/ready.ts";
import { type Field, type Table, textOf } from "../wire/fields.ts";
import {
  type MessageDetail,
  type MessageInfo,
  PREVIEW_BYTES,
  SHOWN_BYTES,
} from "../../observe/board.ts";
import { HEADER } from "../../task/headers.ts";
import { amqpName } from "../../task/task.ts";

/** Longest text of an error in a list, in UTF-16 code units. */
const LONGEST_TEXT = 300;

/** The properties that are texts. */
const TEXTS = [
  "contentType",
  "contentEncoding",
  "correlationId",
  "replyTo",
  "expiration",
  "messageId",
  "type",
  "userId",
  "appId",
] as const satisfies readonly Parameters<ContentHeader["text"]>[0][];
const OCTETS = ["deliveryMode", "priority"] as const;

/** Names a message of a queue. */
export function keyOf({ lane, position }: Message): string {
  return `${lane.priority}-${position}`;
}

/** Where the message stands that a key names; undefined: it is none. */
export function placeOf(key: string): Place | undefined {
  const match = /^(\d{1,3})-(\d{1,13})$/.exec(key);
  return match === null ? undefined : { priority: Number(match[1]), position: Number(match[2]) };
}

/** What is read out of a content. */
export interface Opened {
  readonly header: ContentHeader;
  readonly headers: Table;
  readonly content: Content;
}

export function open(content: Content): Opened {
  const header = new ContentHeader().scanOf(content);
  return { header, headers: header.headers(), content };
}

/** The body, or as much of a very large one as anybody looks at; none if that cannot be read. */
export function beginningOf(content: Content): Uint8Array {
  try {
    return content.chunk(0);
  } catch {
    return new Uint8Array(0); // the store knows it now
  }
}

/** Why a message is dead: as the tools say it, else as the broker does, else "". */
export function reasonOf(headers: Table): string {
  return textOf(headers.get(HEADER.deadReason)) ??
    textOf(headers.get("x-first-death-reason")) ?? "";
}

/** The beginning of what a worker says about its last failure. */
export function errorOf(headers: Table): string | undefined {
  return textOf(headers.get(HEADER.error))?.slice(0, LONGEST_TEXT);
}

/** A message in a list. @param content undefined: it cannot be read */
export function describeMessage(message: Message, content: Content | undefined): MessageInfo {
  const base = {
    key: keyOf(message),
    size: message.bodyLength,
    redelivered: message.redelivered,
    priority: message.lane.priority,
  };
  if (content === undefined) return { ...base, preview: "" };
  const { header, headers } = open(content);
  const reason = reasonOf(headers);
  return {
    ...base,
    ...defined({
      id: header.text("messageId"),
      type: header.text("type"),
      attempt: integer(headers, HEADER.attempt),
      reason: reason === "" ? undefined : reason,
      error: errorOf(headers),
      diedAt: textOf(headers.get(HEADER.diedAt))?.slice(0, 40),
    }),
    priority: header.priority ?? message.lane.priority,
    preview: new TextDecoder().decode(beginningOf(content).subarray(0, PREVIEW_BYTES)),
  };
}

/** All of a message, its body up to a limit. */
export function describeWhole(
  message: Message,
  content: Content,
  counts: boolean,
): MessageDetail {
  const { header, headers } = open(content);
  const { exchange, routingKey } = readAddress(content.bytes);
  const shown = beginningOf(content).subarray(0, SHOWN_BYTES);
  const properties: Record<string, unknown> = {};
  for (const name of TEXTS) {
    const value = header.text(name);
    if (value !== undefined) properties[amqpName(name)] = value;
  }
  for (const name of OCTETS) {
    const value = header[name];
    if (value !== undefined) properties[amqpName(name)] = value;
  }
  const timestamp = header.timestamp();
  if (timestamp !== undefined) properties["timestamp"] = timestamp;
  return {
    ...describeMessage(message, content),
    exchange,
    routingKey,
    durable: message.durable,
    ...(counts ? { deliveries: message.deliveries } : {}),
    properties,
    headers: plain(headers),
    bodyBase64: encodeBase64(shown),
    bodyCut: shown.length < content.bodyLength,
  };
}

/** A table as JSON can hold it: what JSON has no word for becomes text. */
export function plain(table: Table): Record<string, unknown> {
  // Without a prototype: a header may be called "__proto__".
  const result: Record<string, unknown> = Object.create(null);
  for (const [name, field] of table) result[name] = plainField(field);
  return result;
}

function plainField(field: Field): unknown {
  switch (field.type) {
    case "long":
    case "timestamp": {
      const number = Number(field.value);
      if (field.type === "long") return Number.isSafeInteger(number) ? number : `${field.value}`;
      const date = new Date(number * 1_000);
      return Number.isNaN(date.getTime()) ? `${field.value}` : date.toISOString();
    }
    case "float":
    case "double":
      return Number.isFinite(field.value) ? field.value : `${field.value}`;
    case "decimal":
      return field.value / 10 ** field.scale;
    case "binary":
      return { base64: encodeBase64(field.value) };
    case "table":
      return plain(field.value);
    case "array":
      return field.value.map(plainField);
    default:
      return field.value;
  }
}

function integer(headers: Table, name: string): number | undefined {
  const value = Number(headers.get(name)?.value ?? NaN);
  return Number.isSafeInteger(value) ? value : undefined;
}

function defined<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as { [K in keyof T]?: NonNullable<T[K]> };
}
