/**
 * What the header of a message says about its deaths (x-death, and the three headers that remember
 * the first one) and about its returns to a quorum queue (x-delivery-count).
 */

import { ContentHeader } from "./content_header.ts";
import { byteLengthOf } from "../wire/text.ts";
import { type Field, integerOf, type Table, tableOf, textOf } from "../wire/fields.ts";

/** Why a message died, as x-death names it. */
export type DeathReason = "rejected" | "expired" | "maxlen" | "delivery_limit";

export interface Death {
  queue: string;
  reason: DeathReason;
  exchange: string;
  routingKeys: string[];
  expiration: string | undefined;
}

/**
 * Bytes of the routing keys that an entry names: a message may have thousands, and each of its deaths
 * would repeat them all.
 */
const MOST_KEY_BYTES = 4_096;

/** The x-death array with one more death: the latest first, one entry per queue and reason. */
export function recordDeath(headers: Table, death: Death): Field[] {
  const deaths = deathsIn(headers);
  const index = deaths.findIndex((entry) => {
    const table = tableOf(entry);
    return textOf(table?.get("queue")) === death.queue &&
      textOf(table?.get("reason")) === death.reason;
  });
  if (index < 0) return [{ type: "table", value: newEntry(death) }, ...deaths];
  const entry = new Map(tableOf(deaths[index])!);
  entry.set("count", { type: "long", value: BigInt(integerOf(entry.get("count")) ?? 0) + 1n });
  return [{ type: "table", value: entry }, ...deaths.filter((_, other) => other !== index)];
}

/**
 * The deaths that a message brings along. Old brokers wrote an entry without a count for every
 * single death: those of one queue and reason become one.
 */
function deathsIn(headers: Table): Field[] {
  const field = headers.get("x-death");
  if (field?.type !== "array") return [];
  const tables = field.value.map(tableOf).filter((table) => table !== undefined);
  const groups = Map.groupBy(
    tables,
    (table) => JSON.stringify([textOf(table.get("queue")), textOf(table.get("reason"))]),
  );
  return Array.from(groups.values(), ([first, ...others]) => {
    const count: Field = { type: "long", value: BigInt(others.length + 1) };
    return { type: "table", value: new Map([["count", count], ...first!]) };
  });
}

function newEntry({ queue, reason, exchange, routingKeys, expiration }: Death): Table {
  let left = MOST_KEY_BYTES;
  const named = routingKeys.filter((key) => (left -= byteLengthOf(key)) >= 0);
  const entry: Table = new Map([
    ["count", { type: "long", value: 1n }],
    ["reason", { type: "longstr", value: reason }],
    ["queue", { type: "longstr", value: queue }],
    ["time", { type: "timestamp", value: BigInt(Math.floor(Date.now() / 1000)) }],
    ["exchange", { type: "longstr", value: exchange }],
    [
      "routing-keys",
      { type: "array", value: named.map((value) => ({ type: "longstr", value })) },
    ],
  ]);
  if (expiration !== undefined) {
    entry.set("original-expiration", { type: "longstr", value: expiration });
  }
  return entry;
}

/**
 * A content header that fits into one frame of a consumer, as far as its history allows: a header
 * cannot be cut, and strict clients end the connection over a longer frame. The oldest deaths go
 * first.
 */
export function fitHeader(payload: Uint8Array, most: number): Uint8Array {
  return new ContentHeader().scan(payload).shortened("x-death", payload.length - most);
}

/** x-death, and the three headers that remember the first death. */
export function deathHeaders(headers: Table, deaths: Field[]): Table {
  const changed: Table = new Map([["x-death", { type: "array", value: deaths }]]);
  if (headers.has("x-death")) return changed;
  const first = tableOf(deaths[deaths.length - 1]);
  for (const name of ["reason", "queue", "exchange"]) {
    const value = textOf(first?.get(name));
    if (value !== undefined) changed.set(`x-first-death-${name}`, { type: "longstr", value });
  }
  return changed;
}

/** RabbitMQ's rule: queues in which it has died before without anybody's rejecting it since. */
export function cycleOf(deaths: readonly Field[]): Set<string | undefined> {
  const queues = new Set<string | undefined>();
  for (const entry of deaths) {
    const table = tableOf(entry);
    if (table === undefined || textOf(table.get("reason")) === "rejected") break;
    queues.add(textOf(table.get("queue")));
  }
  return queues;
}

/** Header payload with `x-delivery-count`. */
export function deliveredHeader(payload: Uint8Array, count: number): Uint8Array {
  return new ContentHeader().scan(payload).rewrite({
    set: new Map([["x-delivery-count", { type: "long", value: BigInt(count) }]]),
  });
}
