/** The bindings of a virtual host by what they lead to, and what of them is stored. */

import { type Binding, type Exchange, isExchange } from "./exchange.ts";
import type { DefinitionChanges, End } from "../store/definitions/definition_changes.ts";
import { bindingBytes } from "./definition_bytes.ts";
import type { DefinitionRoom } from "../queue/definition_room.ts";
import { added, all, type Few, removed } from "./few.ts";
import type { StoredBinding } from "../store/definitions/definitions.ts";
import type { Queue } from "../queue/queue.ts";

export class Bindings {
  readonly #vhost: string;
  readonly #changes: DefinitionChanges;
  readonly #byDestination = new Map<Queue | Exchange, Few<Binding>>();
  readonly #room: DefinitionRoom;

  /** @param vhost name of the virtual host */
  constructor(vhost: string, changes: DefinitionChanges, room: DefinitionRoom) {
    this.#vhost = vhost;
    this.#changes = changes;
    this.#room = room;
  }

  /** Those that lead to a queue or an exchange. */
  to(destination: Queue | Exchange): Iterable<Binding> {
    return all(this.#byDestination.get(destination));
  }

  /**
   * One that is new, and must be stored.
   * @returns false when there is one like it
   * @throws {Fault} precondition-failed when there is no room for it
   */
  add(binding: Binding): boolean {
    const { source, destination } = binding;
    if (source.find(binding) !== undefined) return false;
    this.#room.take(() => `bind ${destination.title}`, bindingBytes(binding));
    this.#put(binding);
    if (isDurable(binding)) this.#changes.addBinding(this.#stored(binding));
    return true;
  }

  /** One that is stored. @returns false when there is one like it */
  restore(binding: Binding): boolean {
    if (!this.#put(binding)) return false;
    this.#room.restore(bindingBytes(binding));
    return true;
  }

  #put(binding: Binding): boolean {
    if (!binding.source.add(binding)) return false;
    const { destination } = binding;
    this.#byDestination.set(destination, added(this.#byDestination.get(destination), binding));
    return true;
  }

  remove(binding: Binding): void {
    binding.source.remove(binding);
    this.#forget(binding);
    if (isDurable(binding)) this.#changes.removeBinding(this.#stored(binding));
  }

  /** Removes those of an exchange that is gone, at once: they may be very many. */
  removeFrom(source: Exchange): void {
    const destinations = new Set<Queue | Exchange>();
    for (const binding of source.bindings()) {
      this.#forget(binding);
      if (isDurable(binding)) destinations.add(binding.destination);
    }
    source.clear();
    if (destinations.size === 0) return;
    this.#changes.removeBindingsFrom(this.#vhost, source.name, destinations.values().map(endOf));
  }

  /** Removes those that lead to a queue or an exchange. @returns where they came from */
  removeTo(destination: Queue | Exchange): Set<Exchange> {
    const sources = new Set<Exchange>();
    const durable = new Set<string>();
    for (const binding of this.to(destination)) {
      const { source } = binding;
      source.remove(binding);
      this.#room.giveBack(bindingBytes(binding));
      if (isDurable(binding)) durable.add(source.name);
      sources.add(source);
    }
    this.#byDestination.delete(destination);
    if (durable.size > 0) this.#changes.removeBindingsTo(this.#vhost, durable, endOf(destination));
    return sources;
  }

  #forget(binding: Binding): void {
    this.#room.giveBack(bindingBytes(binding));
    const { destination } = binding;
    const left = removed(this.#byDestination.get(destination), binding);
    if (left === undefined) this.#byDestination.delete(destination);
    else this.#byDestination.set(destination, left);
  }

  #stored({ source, destination, routingKey, argumentBytes }: Binding): StoredBinding {
    return {
      vhost: this.#vhost,
      source: source.name,
      ...endOf(destination),
      routingKey,
      arguments: argumentBytes,
    };
  }
}

function endOf(destination: Queue | Exchange): End {
  return {
    kind: isExchange(destination) ? "exchange" : "queue",
    destination: destination.name,
  };
}

function isDurable({ source, destination }: Binding): boolean {
  const durable = isExchange(destination) ? destination.identity.durable : destination.durable;
  return source.identity.durable && durable;
}
