/** The way of a message from an exchange to queues. */

import { type Binding, type Exchange, isExchange, type Routable } from "./exchange.ts";
import type { Queue } from "../queue/queue.ts";

/** What has a name in a virtual host. */
export interface Named {
  readonly exchanges: ReadonlyMap<string, Exchange>;
  readonly queues: ReadonlyMap<string, Queue>;
}

/**
 * Adds the queues to which an exchange leads a message to `found`.
 * @returns how much was looked at: exchanges, bindings, and what their types look at
 */
export function findRoute(
  exchange: Exchange,
  message: Routable,
  { exchanges, queues }: Named,
  found: Set<Queue>,
): number {
  // Each exchange once, those that are added meanwhile too: bindings may form chains and cycles.
  const visited = new Set([exchange]);
  let looked = 0;
  for (const current of visited) {
    if (current.name === "") {
      const queue = queues.get(message.routingKey);
      if (queue !== undefined) found.add(queue);
      continue;
    }
    const bindings = new Set<Binding>();
    looked += current.match(message, bindings);
    for (const { destination } of bindings) {
      if (isExchange(destination)) visited.add(destination);
      else found.add(destination);
    }
    if (bindings.size > 0 || current.alternate === undefined) continue;
    const alternate = exchanges.get(current.alternate);
    if (alternate !== undefined) visited.add(alternate);
  }
  return looked + visited.size;
}
