/** The arguments of basic.consume. */

import { preconditionFailed } from "../wire/faults.ts";
import { integerOf, type Table } from "../wire/fields.ts";
import type { Queue } from "../queue/queue.ts";

export interface ConsumerArguments {
  /** `x-priority`; the higher comes first. */
  readonly priority: number;
}

/** Arguments that RabbitMQ knows and that not every type of queue takes. */
const ONLY_FOR: ReadonlyMap<string, string> = new Map([
  ["x-cancel-on-ha-failover", "classic"],
  ["x-stream-offset", "stream"],
]);

/** @throws {Fault} precondition-failed; what RabbitMQ does not know is ignored */
export function parseConsumerArguments(table: Table, queue: Queue): ConsumerArguments {
  const priority = priorityOf(table, queue);
  const { type } = queue.arguments;
  for (const [argument, only] of ONLY_FOR) {
    if (type === only || !table.has(argument)) continue;
    throw preconditionFailed(
      `invalid arg '${argument}' for ${queue.title} of queue type rabbit_${type}_queue`,
    );
  }
  return { priority };
}

function priorityOf(table: Table, queue: Queue): number {
  const field = table.get("x-priority");
  if (field === undefined) return 0;
  const priority = integerOf(field);
  if (priority !== undefined) return priority;
  throw preconditionFailed(
    `invalid arg 'x-priority' for ${queue.title}: "expected integer, got ${field.type}"`,
  );
}
