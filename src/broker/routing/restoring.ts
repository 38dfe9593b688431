/** Brings back what a former process has stored. */

import type { DeadLetters } from "./dead_letters.ts";
import type { VirtualHost } from "./virtual_host.ts";
import type { StoredExchange } from "../store/definitions/definitions.ts";
import type { Store } from "../store/store.ts";

/** @param vhostOf makes a virtual host that holds data, whether it was named this time or not */
export function restore(
  store: Store,
  deadLetters: Pick<DeadLetters, "restore">,
  vhostOf: (name: string) => VirtualHost,
): void {
  const { definitions } = store;
  const leaving: StoredExchange[] = [];
  for (const exchange of definitions.exchanges()) {
    vhostOf(exchange.vhost).restoreExchange(exchange);
    if (exchange.isLeaving) leaving.push(exchange);
  }
  const lanes = Map.groupBy(store.lanes(), ({ queue }) => queue);
  const dead = new Map(store.dead.stored().map((count) => [count.lane, count]));
  const paused = definitions.paused();
  for (const stored of definitions.queues()) {
    const queue = vhostOf(stored.vhost).restoreQueue(stored);
    queue.flow.paused = paused.has(stored.id);
    for (const lane of lanes.get(stored.id) ?? []) {
      const deadThere = dead.get(lane.id);
      const record = queue.restore(lane, deadThere);
      if (deadThere !== undefined) deadLetters.restore(queue, record, deadThere);
    }
  }
  for (const binding of definitions.bindings()) vhostOf(binding.vhost).restoreBinding(binding);
  for (const [vhost, exchanges] of Map.groupBy(leaving, ({ vhost }) => vhost)) {
    vhostOf(vhost).restoreUnused(exchanges.map(({ name }) => name));
  }
}
