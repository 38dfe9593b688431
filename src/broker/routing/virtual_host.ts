/** A virtual host: its exchanges, queues and bindings by name. */

import { ByteReader } from "../wire/bytes.ts";
import { Bindings } from "./bindings.ts";
import {
  type Binding,
  builtInExchanges,
  Exchange,
  type ExchangeIdentity,
  exchangeTypeOf,
  type Routable,
} from "./exchange.ts";
import { checkHeadersBinding } from "./headers.ts";
import { exchangeBytes, queueBytes } from "./definition_bytes.ts";
import type { DefinitionRoom } from "../queue/definition_room.ts";
import { assertSameExchange, assertSameQueue } from "./equivalence.ts";
import { assertOpen, ExclusiveQueues, locked } from "./exclusive_queues.ts";
import { findRoute } from "./route.ts";
import { accessRefused, notFound, preconditionFailed } from "../wire/faults.ts";
import { encodeTable, readTable, type Table } from "../wire/fields.ts";
import { Queue } from "../queue/queue.ts";
import type { QueueHost } from "../queue/host.ts";
import { parseQueueArguments, type QueueFlags } from "../queue/arguments.ts";
import { FoundRoutes } from "./found_routes.ts";
import { UnusedExchanges } from "./unused_exchanges.ts";
import type { Subject } from "../store/definitions/definition_changes.ts";
import type {
  StoredBinding,
  StoredExchange,
  StoredQueue,
} from "../store/definitions/definitions.ts";

export interface BindingRequest {
  source: string;
  destination: string;
  kind: "queue" | "exchange";
  routingKey: string;
  arguments: Table;
  /** The connection that asks: exclusive queues are closed to others. */
  connectionId: number;
}

type BindingArguments = Pick<Binding, "arguments" | "argumentBytes">;

/** Those of most bindings, of which there may be very many. */
const NO_ARGUMENTS: BindingArguments = {
  arguments: new Map(),
  argumentBytes: encodeTable(new Map()),
};

export class VirtualHost {
  readonly name: string;
  readonly #host: QueueHost<Queue>;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #queues = new Map<string, Queue>();
  readonly #exclusive = new ExclusiveQueues();
  readonly #bindings: Bindings;
  /** Auto-delete exchanges that are on their way out. */
  readonly unused: UnusedExchanges;
  readonly #room: DefinitionRoom;
  readonly found = new FoundRoutes();

  constructor(name: string, host: QueueHost<Queue>) {
    this.name = name;
    this.#host = host;
    this.#room = host.memory.definitions;
    this.#bindings = new Bindings(name, host.store.changes, this.#room);
    this.unused = new UnusedExchanges(host.scheduler, {
      drop: (exchange) => {
        host.sendDeadLetters();
        this.#forsake(exchange);
        return this.#bindings.removeTo(exchange);
      },
      note: (exchanges, isLeaving) => {
        const names = exchanges.map(({ name }) => name);
        host.store.changes.setLeaving(this.name, names, isLeaving);
      },
    });
    for (const exchange of builtInExchanges(name)) this.#exchanges.set(exchange.name, exchange);
  }

  get queues(): Iterable<Queue> {
    return this.#queues.values();
  }

  /** Whether what a client asked about is on disk as it is in memory. */
  isSaved(subject: Subject): boolean {
    return this.#host.store.changes.isSaved(this.name, subject);
  }

  /** What the store has refused is not there either. */
  forget(subject: Subject): void {
    if ("queue" in subject) {
      const queue = this.#queues.get(subject.queue);
      if (queue !== undefined) this.deleteQueue(queue);
    } else if ("exchange" in subject) {
      const exchange = this.#exchanges.get(subject.exchange);
      if (exchange !== undefined) this.#dropExchange(exchange);
    } else this.#unbindFrom(subject);
  }

  #unbindFrom(
    { source, kind, destination: name }: Exclude<Subject, { queue: string } | { exchange: string }>,
  ): void {
    const destination = (kind === "queue" ? this.#queues : this.#exchanges).get(name);
    if (destination === undefined) return;
    for (const binding of [...this.#bindings.to(destination)]) {
      if (binding.source.name === source) this.#removeBinding(binding);
    }
  }

  /** The machine's clock was set. */
  clockSet(): void {
    for (const queue of this.#queues.values()) queue.clockSet();
  }

  // -- restart --

  restoreExchange(stored: StoredExchange): void {
    const exchange = new Exchange({
      vhost: this.name,
      name: stored.name,
      type: exchangeTypeOf(stored.type),
      durable: true,
      autoDelete: stored.autoDelete,
      internal: stored.internal,
      table: tableOf(stored),
    });
    this.#exchanges.set(stored.name, exchange);
    this.#room.restore(exchangeBytes(exchange.identity));
  }

  /** These have lost a binding. When all bindings are restored. */
  restoreUnused(names: readonly string[]): void {
    this.unused.resume(names.map((name) => this.exchange(name)));
  }

  restoreQueue(stored: StoredQueue): Queue {
    const table = tableOf(stored);
    const flags = { durable: true, exclusive: false, autoDelete: stored.autoDelete };
    const args = parseQueueArguments(table, flags, this.#queueTitle(stored.name));
    const queue = new Queue(
      { ...flags, id: stored.id, vhost: this.name, name: stored.name, ownerId: undefined, table },
      args,
      this.#host,
    );
    this.#queues.set(stored.name, queue);
    this.#room.restore(queueBytes(queue.identity));
    return queue;
  }

  restoreBinding(stored: StoredBinding): void {
    const source = this.#exchanges.get(stored.source);
    const destinations = stored.kind === "queue" ? this.#queues : this.#exchanges;
    const destination = destinations.get(stored.destination);
    if (source === undefined || destination === undefined) return;
    const { routingKey } = stored;
    const binding = { source, destination, routingKey, ...kept(tableOf(stored)) };
    this.#bindings.restore(binding);
  }

  // -- exchanges --

  /** @throws {Fault} not-found */
  exchange(name: string): Exchange {
    const exchange = this.#exchanges.get(name);
    if (exchange === undefined) throw notFound(`exchange '${name}' in vhost '${this.name}'`);
    return exchange;
  }

  findExchange(name: string): Exchange | undefined {
    return this.#exchanges.get(name);
  }

  /** @throws {Fault} when the name is reserved or an unequal exchange has it */
  declareExchange(wanted: Omit<ExchangeIdentity, "vhost">): void {
    const existing = this.#exchanges.get(wanted.name);
    if (existing !== undefined) return assertSameExchange(existing, wanted);
    if (wanted.name.startsWith("amq.")) {
      throw accessRefused(`exchange name '${wanted.name}' contains reserved prefix 'amq.*'`);
    }
    const alternate = wanted.table.get("alternate-exchange");
    if (alternate !== undefined && alternate.type !== "longstr") {
      throw preconditionFailed(
        `invalid type '${alternate.type}' for arg 'alternate-exchange' in ` +
          `exchange '${wanted.name}' in vhost '${this.name}'`,
      );
    }
    const exchange = new Exchange({
      ...wanted,
      vhost: this.name,
      table: kept(wanted.table).arguments,
    });
    this.#room.take(() => `declare ${exchange.title}`, exchangeBytes(exchange.identity));
    this.#exchanges.set(wanted.name, exchange);
    this.found.forget();
    if (wanted.durable) {
      this.#host.store.changes.addExchange({
        vhost: this.name,
        name: wanted.name,
        type: wanted.type,
        autoDelete: wanted.autoDelete,
        internal: wanted.internal,
        arguments: encodeTable(wanted.table),
      });
    }
  }

  /** Deleting what does not exist is fine. @throws {Fault} */
  deleteExchange(name: string, ifUnused: boolean): void {
    if (name.startsWith("amq.")) {
      throw accessRefused(
        `deletion of system exchange '${name}' in vhost '${this.name}' not allowed`,
      );
    }
    const exchange = this.#exchanges.get(name);
    if (exchange === undefined) return;
    if (ifUnused && exchange.isUsed) throw preconditionFailed(`${exchange.title} in use`);
    this.#dropExchange(exchange);
  }

  #dropExchange(exchange: Exchange): void {
    this.#host.sendDeadLetters();
    this.#forsake(exchange);
    this.#bindings.removeFrom(exchange);
    this.#unbindAll(exchange);
  }

  #forsake(exchange: Exchange): void {
    exchange.deleted = true;
    this.#room.giveBack(exchangeBytes(exchange.identity));
    this.#exchanges.delete(exchange.name);
    if (exchange.identity.durable) {
      this.#host.store.changes.removeExchange(this.name, exchange.name);
    }
    this.found.forget();
  }

  // -- queues --

  #queueTitle(name: string): string {
    return `queue '${name}' in vhost '${this.name}'`;
  }

  findQueue(name: string): Queue | undefined {
    return this.#queues.get(name);
  }

  /** The connection is over, and with it its exclusive queues. @param then when they are gone */
  deleteQueuesOf(connectionId: number, then: () => void): void {
    const drop = (queue: Queue) => this.deleteQueue(queue);
    this.#exclusive.end(connectionId, drop, this.#host.scheduler, then);
  }

  /** @throws {Fault} not-found, or resource-locked when it belongs to another connection */
  queue(name: string, connectionId: number): Queue {
    const queue = this.#existingQueue(name);
    assertOpen(queue, connectionId);
    return queue;
  }

  #existingQueue(name: string): Queue {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw notFound(this.#queueTitle(name));
    return queue;
  }

  /**
   * Finds or creates a queue.
   * @throws {Fault} when the name is reserved, the arguments are wrong or differ from those of the
   *   queue that has the name
   */
  declareQueue(name: string, flags: QueueFlags, table: Table, connectionId: number): Queue {
    const existing = this.#queues.get(name);
    const ownerId = flags.exclusive ? connectionId : undefined;
    if (existing !== undefined) {
      if (existing.identity.ownerId !== ownerId) throw locked(existing);
      assertSameQueue(existing, flags, table);
      existing.used();
      return existing;
    }
    const title = this.#queueTitle(name);
    const args = parseQueueArguments(table, flags, title);
    this.#room.take(() => `declare ${title}`, queueBytes({ name, table }));
    const { store } = this.#host;
    const stored = flags.durable && !flags.exclusive && store.durable;
    const id = stored ? store.nextQueueId() : 0;
    const queue = new Queue(
      { ...flags, id, vhost: this.name, name, ownerId, table: kept(table).arguments },
      args,
      this.#host,
    );
    this.#queues.set(name, queue);
    this.#exclusive.add(queue);
    this.found.forget();
    if (stored) {
      const { autoDelete } = flags;
      store.changes.addQueue({
        id,
        vhost: this.name,
        name,
        autoDelete,
        arguments: encodeTable(table),
      });
    }
    return queue;
  }

  /** @returns how many ready messages went with it */
  deleteQueue(queue: Queue): number {
    if (queue.deleted) return 0;
    this.#host.sendDeadLetters();
    this.#queues.delete(queue.name);
    this.#room.giveBack(queueBytes(queue.identity));
    this.#exclusive.remove(queue);
    this.#unbindAll(queue);
    this.found.forget();
    return queue.drop();
  }

  // -- bindings --

  /** @throws {Fault} not-found, resource-locked, access-refused */
  bind(request: BindingRequest): void {
    const binding = this.#resolve(request);
    assertOpen(binding.destination, request.connectionId);
    if (binding.source.identity.type === "headers") checkHeadersBinding(request.arguments);
    if (this.#bindings.add(binding)) this.found.forget();
  }

  /** Removing a binding that does not exist is fine. @throws {Fault} */
  unbind(request: BindingRequest): void {
    const binding = this.#findBinding(request);
    if (binding === undefined) return;
    assertOpen(binding.destination, request.connectionId);
    this.#host.sendDeadLetters();
    this.#removeBinding(binding);
  }

  #findBinding(request: BindingRequest): Binding | undefined {
    refuseDefault(request);
    const destinations = request.kind === "queue" ? this.#queues : this.#exchanges;
    if (!this.#exchanges.has(request.source)) return undefined;
    if (!destinations.has(request.destination)) return undefined;
    const like = this.#resolve(request);
    return like.source.find(like);
  }

  #resolve(request: BindingRequest): Binding {
    refuseDefault(request);
    const { routingKey } = request;
    const source = this.exchange(request.source);
    const destination = request.kind === "queue"
      ? this.#existingQueue(request.destination)
      : this.exchange(request.destination);
    return { source, destination, routingKey, ...kept(request.arguments) };
  }

  #unbindAll(destination: Queue | Exchange): void {
    this.found.forget();
    this.unused.add(this.#bindings.removeTo(destination));
  }

  #removeBinding(binding: Binding): void {
    this.found.forget();
    this.#bindings.remove(binding);
    this.unused.add([binding.source]);
  }

  /** {@link findRoute} */
  route(exchange: Exchange, message: Routable, found: Set<Queue>): number {
    return findRoute(
      exchange,
      message,
      { exchanges: this.#exchanges, queues: this.#queues },
      found,
    );
  }
}

/** The arguments of what is stored. */
function tableOf(stored: { arguments: Uint8Array }): Table {
  return kept(readTable(new ByteReader(stored.arguments))).arguments;
}

function kept(table: Table): BindingArguments {
  if (table.size === 0) return NO_ARGUMENTS;
  return { arguments: table, argumentBytes: encodeTable(table) };
}

function refuseDefault({ kind, source, destination }: BindingRequest): void {
  if (source !== "" && (kind === "queue" || destination !== "")) return;
  throw accessRefused("operation not permitted on the default exchange");
}
