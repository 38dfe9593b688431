/** Exchanges: how each type finds the bindings that a message matches. */

import { added, all, type Few, removed } from "./few.ts";
import { bytesAsText } from "../wire/text.ts";
import { Fault } from "../wire/faults.ts";
import { HeaderIndex } from "./headers.ts";
import { type Table, textOf } from "../wire/fields.ts";
import type { Queue } from "../queue/queue.ts";
import { TopicTrie } from "./topic.ts";

const EXCHANGE_TYPES = ["direct", "fanout", "topic", "headers"] as const;
type ExchangeType = (typeof EXCHANGE_TYPES)[number];

/** Bytes of a table without fields. */
const NO_TABLE_BYTES = 4;

export interface Binding {
  readonly source: Exchange;
  readonly destination: Queue | Exchange;
  readonly routingKey: string;
  readonly arguments: Table;
  /** The encoded arguments: what makes two bindings the same. */
  readonly argumentBytes: Uint8Array;
}

/** What routing looks at. Headers are only parsed when a headers exchange asks. */
export interface Routable {
  routingKey: string;
  headers: () => Table;
}

interface Matcher {
  add(binding: Binding): void;
  remove(binding: Binding): void;
  /** @returns how much it has looked at besides what it has found */
  match(message: Routable, found: Set<Binding>): number;
}

export interface ExchangeIdentity {
  vhost: string;
  name: string;
  type: ExchangeType;
  durable: boolean;
  autoDelete: boolean;
  internal: boolean;
  table: Table;
}

export class Exchange {
  readonly name: string;
  readonly identity: ExchangeIdentity;
  /** Where messages go that no binding matches. */
  readonly alternate: string | undefined;
  /** Both are made with the first binding: there may be very many exchanges without any. */
  #matcher: Matcher | undefined;
  #bindings: Map<string, Binding> | undefined;
  deleted = false;

  constructor(identity: ExchangeIdentity) {
    this.name = identity.name;
    this.identity = identity;
    this.alternate = textOf(identity.table.get("alternate-exchange"));
  }

  /** As error texts name it. */
  get title(): string {
    return `exchange '${this.name}' in vhost '${this.identity.vhost}'`;
  }

  get isUsed(): boolean {
    return this.#bindings !== undefined && this.#bindings.size > 0;
  }

  bindings(): Iterable<Binding> {
    return this.#bindings?.values() ?? [];
  }

  /** @returns whether it is new */
  add(binding: Binding): boolean {
    const key = keyOf(binding);
    this.#bindings ??= new Map();
    if (this.#bindings.has(key)) return false;
    this.#bindings.set(key, binding);
    this.#matcher ??= createMatcher(this.identity.type);
    this.#matcher.add(binding);
    return true;
  }

  /** The binding between the same, with the same key and arguments. */
  find(like: Binding): Binding | undefined {
    return this.#bindings?.get(keyOf(like));
  }

  remove(binding: Binding): void {
    this.#bindings?.delete(keyOf(binding));
    this.#matcher?.remove(binding);
  }

  /** Removes all bindings. */
  clear(): void {
    this.#bindings = this.#matcher = undefined;
  }

  /**
   * Adds the bindings that match to `found`, which is empty.
   * @returns how much was looked at
   */
  match(message: Routable, found: Set<Binding>): number {
    return (this.#matcher?.match(message, found) ?? 0) + found.size;
  }
}

export function isExchange(destination: Queue | Exchange): destination is Exchange {
  return destination instanceof Exchange;
}

/** By their lengths: any character may be in a name. */
function keyOf({ destination, routingKey, argumentBytes }: Binding): string {
  const { name } = destination;
  const kind = isExchange(destination) ? "e" : "q";
  const ends = `${kind}${name.length} ${routingKey.length} ${name}${routingKey}`;
  return argumentBytes.length <= NO_TABLE_BYTES ? ends : ends + bytesAsText(argumentBytes);
}

function createMatcher(type: ExchangeType): Matcher {
  switch (type) {
    case "direct":
      return new DirectMatcher();
    case "fanout":
      return new FanoutMatcher();
    case "topic":
      return new TopicMatcher();
    case "headers":
      return new HeadersMatcher();
  }
}

class DirectMatcher implements Matcher {
  readonly #byKey = new Map<string, Few<Binding>>();

  add(binding: Binding): void {
    const { routingKey } = binding;
    this.#byKey.set(routingKey, added(this.#byKey.get(routingKey), binding));
  }

  remove(binding: Binding): void {
    const { routingKey } = binding;
    const left = removed(this.#byKey.get(routingKey), binding);
    if (left === undefined) this.#byKey.delete(routingKey);
    else this.#byKey.set(routingKey, left);
  }

  match({ routingKey }: Routable, found: Set<Binding>): number {
    for (const binding of all(this.#byKey.get(routingKey))) found.add(binding);
    return 0;
  }
}

class FanoutMatcher implements Matcher {
  readonly #all = new Set<Binding>();

  add(binding: Binding): void {
    this.#all.add(binding);
  }

  remove(binding: Binding): void {
    this.#all.delete(binding);
  }

  match(_message: Routable, found: Set<Binding>): number {
    for (const binding of this.#all) found.add(binding);
    return 0;
  }
}

class TopicMatcher implements Matcher {
  readonly #trie = new TopicTrie<Binding>();

  add(binding: Binding): void {
    this.#trie.add(binding.routingKey, binding);
  }

  remove(binding: Binding): void {
    this.#trie.remove(binding.routingKey, binding);
  }

  match({ routingKey }: Routable, found: Set<Binding>): number {
    return this.#trie.match(routingKey, found);
  }
}

class HeadersMatcher implements Matcher {
  readonly #index = new HeaderIndex<Binding>();

  add(binding: Binding): void {
    this.#index.add(binding.arguments, binding);
  }

  remove(binding: Binding): void {
    this.#index.remove(binding.arguments, binding);
  }

  match(message: Routable, found: Set<Binding>): number {
    return this.#index.isEmpty ? 0 : this.#index.match(message.headers(), found);
  }
}

/**
 * RabbitMQ calls a type invalid, and not unknown, when it is a word of its own: an atom of the
 * Erlang VM. These are the ones that clients are tested with.
 */
const WORDS_OF_RABBITMQ = ["", "none", "undefined", "unknown", "invalid", "error", "test", "foo"];

/** @throws {Fault} command-invalid, as RabbitMQ 3.10 answers a type that it does not know */
export function exchangeTypeOf(type: string): ExchangeType {
  const known = EXCHANGE_TYPES.find((name) => name === type);
  if (known !== undefined) return known;
  const adjective = WORDS_OF_RABBITMQ.includes(type) ? "invalid" : "unknown";
  throw new Fault("command-invalid", `${adjective} exchange type '${type}'`);
}

/** Clients look for it. Nothing is traced. */
const TRACE = "amq.rabbitmq.trace";

const BUILT_IN: [name: string, type: ExchangeIdentity["type"]][] = [
  ["", "direct"],
  ["amq.direct", "direct"],
  ["amq.fanout", "fanout"],
  ["amq.topic", "topic"],
  ["amq.headers", "headers"],
  ["amq.match", "headers"],
  [TRACE, "topic"],
];

/** What every virtual host has from the beginning. */
export function builtInExchanges(vhost: string): Exchange[] {
  return BUILT_IN.map(([name, type]) =>
    new Exchange({
      vhost,
      name,
      type,
      durable: true,
      autoDelete: false,
      internal: name === TRACE,
      table: new Map(),
    })
  );
}
