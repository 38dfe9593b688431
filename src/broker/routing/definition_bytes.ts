/** How much memory queues, exchanges and bindings take, about: measured, and a fifth more. */

import { type Field, integerOf, type Table } from "../wire/fields.ts";
import type { Binding, ExchangeIdentity } from "./exchange.ts";
import type { QueueIdentity } from "../queue/arguments.ts";

/** Bytes besides names and arguments. */
const QUEUE_BYTES = 1_300;
const EXCHANGE_BYTES = 500;
const BINDING_BYTES = 700;

/** A lane of a queue, which is there from its first message on: one for each priority. */
const LANE_BYTES = 700;

/** The same of a table, and of each field in it. */
const TABLE_BYTES = 300;
const FIELD_BYTES = 120;

/** Arguments of queues that need more than they take themselves, and how much. */
const COSTLY = ["x-expires", "x-message-deduplication"];
const ARGUMENT_BYTES = 500;

/** Where there is a `#` in a binding key, what is behind it is kept word by word. */
const TAIL_BYTES = 300;
const WORD_BYTES = 25;

/** What a headers exchange keeps for each header that is wanted, besides its text. */
const DEMAND_BYTES = 150;

/** What a queue takes, about; the same each time. */
export function queueBytes({ name, table }: Pick<QueueIdentity, "name" | "table">): number {
  const costly = COSTLY.filter((argument) => table.has(argument)).length;
  const lanes = 1 + (integerOf(table.get("x-max-priority")) ?? 0);
  return QUEUE_BYTES + textBytes(name) + tableBytes(table) + costly * ARGUMENT_BYTES +
    lanes * LANE_BYTES;
}

export function exchangeBytes({ name, table }: Pick<ExchangeIdentity, "name" | "table">): number {
  return EXCHANGE_BYTES + textBytes(name) + tableBytes(table);
}

/** Its key is there as it came, in what makes it one of its kind, and in the tree of its exchange. */
export function bindingBytes(binding: Binding): number {
  const { destination, routingKey } = binding;
  const text = textBytes(destination.name) + 3 * textBytes(routingKey);
  const table = tableBytes(binding.arguments) + 3 * binding.argumentBytes.length;
  return BINDING_BYTES + text + table + tailBytes(binding) + demandBytes(binding);
}

function demandBytes({ source, arguments: wanted, argumentBytes }: Binding): number {
  return source.identity.type === "headers" ? wanted.size * DEMAND_BYTES + argumentBytes.length : 0;
}

function tailBytes({ source, routingKey }: Binding): number {
  if (source.identity.type !== "topic" || !routingKey.includes("#")) return 0;
  return TAIL_BYTES + WORD_BYTES * routingKey.split(".").length;
}

function textBytes(text: string): number {
  return 2 * text.length;
}

function tableBytes(table: Table): number {
  if (table.size === 0) return 0;
  let bytes = TABLE_BYTES;
  for (const [name, field] of table) bytes += textBytes(name) + fieldBytes(field);
  return bytes;
}

function fieldBytes(field: Field): number {
  switch (field.type) {
    case "longstr":
      return FIELD_BYTES + textBytes(field.value);
    case "binary":
      return FIELD_BYTES + field.value.length;
    case "table":
      return FIELD_BYTES + tableBytes(field.value);
    case "array":
      return field.value.reduce((sum, item) => sum + fieldBytes(item), FIELD_BYTES);
    default:
      return FIELD_BYTES;
  }
}
