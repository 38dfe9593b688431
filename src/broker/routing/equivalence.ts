/** Whether what is declared again is what is there. */

import type { Exchange, ExchangeIdentity } from "./exchange.ts";
import { comparedArguments, type QueueFlags } from "../queue/arguments.ts";
import type { Queue } from "../queue/queue.ts";
import { preconditionFailed } from "../wire/faults.ts";
import { describeField, equalFields, type Field, type Table, textOf } from "../wire/fields.ts";

function assertSame(what: string, title: string, received: unknown, current: unknown): void {
  if (received === current) return;
  throw preconditionFailed(
    `inequivalent arg '${what}' for ${title}: received '${received}' but current is '${current}'`,
  );
}

/** @throws {Fault} precondition-failed */
export function assertSameExchange(
  exchange: Exchange,
  wanted: Omit<ExchangeIdentity, "vhost">,
): void {
  const { identity, title } = exchange;
  assertSame("type", title, wanted.type, identity.type);
  assertSame("durable", title, wanted.durable, identity.durable);
  assertSame("auto_delete", title, wanted.autoDelete, identity.autoDelete);
  assertSame("internal", title, wanted.internal, identity.internal);
  assertSameArgument("alternate-exchange", title, wanted.table, identity.table);
}

/** @throws {Fault} precondition-failed */
export function assertSameQueue(queue: Queue, flags: QueueFlags, table: Table): void {
  const { identity, title } = queue;
  assertSame("durable", title, flags.durable, identity.durable);
  assertSame("auto_delete", title, flags.autoDelete, identity.autoDelete);
  const { type } = queue.arguments;
  for (const name of comparedArguments(type)) {
    assertSameArgument(name, title, table, identity.table);
  }
  if (isClassic(table) && isClassic(identity.table)) return;
  assertSameArgument("x-queue-type", title, table, identity.table);
}

/** No type is the default type. */
function isClassic(table: Table): boolean {
  const type = table.get("x-queue-type");
  return type === undefined || textOf(type) === "classic";
}

function assertSameArgument(name: string, title: string, received: Table, current: Table): void {
  const [one, other] = [received.get(name), current.get(name)];
  if (equalFields(one, other)) return;
  const [is, was] = one && other
    ? [`'${describeField(one)}'`, `'${describeField(other)}'`]
    : [value(one), value(other)];
  throw preconditionFailed(
    `inequivalent arg '${name}' for ${title}: received ${is} but current is ${was}`,
  );
}

function value(field: Field | undefined): string {
  if (field === undefined) return "none";
  return `the value '${describeField(field)}' of type '${field.type}'`;
}
