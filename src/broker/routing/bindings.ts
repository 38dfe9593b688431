/** The bindings of a virtual host by what they lead to, and what of them is stored. */

import { type Binding, type Exchange, isExchange } from "./exchange.ts";
import type { DefinitionChanges } from "../store/definitions/definition_changes.ts";
import type { StoredBinding } from "../store/definitions/definitions.ts";
import type { Queue } from "../queue/queue.ts";

export class Bindings {
  readonly #vhost: string;
  readonly #changes: DefinitionChanges;
  readonly #byDestination = new Map<Queue | Exchange, Set<Binding>>();

  /** @param vhost name of the virtual host */
  constructor(vhost: string, changes: DefinitionChanges) {
    this.#vhost = vhost;
    this.#changes = changes;
  }

  /** Those that lead to a queue or an exchange. */
  to(destination: Queue | Exchange): Iterable<Binding> {
    return this.#byDestination.get(destination) ?? [];
  }

  /** One that is new, and must be stored. @returns false when there is one like it */
  add(binding: Binding): boolean {
    if (!this.restore(binding)) return false;
    if (isDurable(binding)) this.#changes.addBinding(this.#stored(binding));
    return true;
  }

  /** One that is stored. @returns false when there is one like it */
  restore(binding: Binding): boolean {
    if (!binding.source.add(binding)) return false;
    const bindings = this.#byDestination.get(binding.destination);
    if (bindings === undefined) this.#byDestination.set(binding.destination, new Set([binding]));
    else bindings.add(binding);
    return true;
  }

  remove(binding: Binding): void {
    binding.source.remove(binding);
    const bindings = this.#byDestination.get(binding.destination);
    if (bindings?.delete(binding) && bindings.size === 0) {
      this.#byDestination.delete(binding.destination);
    }
    if (isDurable(binding)) this.#changes.removeBinding(this.#stored(binding));
  }

  #stored({ source, destination, routingKey, argumentBytes }: Binding): StoredBinding {
    return {
      vhost: this.#vhost,
      source: source.name,
      kind: isExchange(destination) ? "exchange" : "queue",
      destination: destination.name,
      routingKey,
      arguments: argumentBytes,
    };
  }
}

function isDurable({ source, destination }: Binding): boolean {
  const durable = isExchange(destination) ? destination.identity.durable : destination.durable;
  return source.identity.durable && durable;
}
