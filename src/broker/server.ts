/** The broker as a whole: what it is made of, its listeners, its start and its end. */

import { Alarms } from "./alarms.ts";
import { DeadLetters } from "./dead_letters.ts";
import { Deadlines } from "./deadlines.ts";
import { Fault } from "./faults.ts";
import { closeQuietly, shakeHands } from "./handshake.ts";
import { MemoryUse } from "./lane.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import type { DeathReason, Queue, QueueHost } from "./queue.ts";
import type { Message } from "./message.ts";
import { ReplyTo } from "./reply_to.ts";
import { isConnectionLoss, Session, type SessionHost } from "./session.ts";
import { Store } from "./store.ts";
import { Turn } from "./turn.ts";
import { Users } from "./users.ts";
import { VirtualHost } from "./virtual_host.ts";
import { EXIT, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";

export interface BrokerOptions {
  /** Addresses to listen on; default both loopbacks, as far as the machine has them. */
  hosts?: string[];
  /** 0 for a free one. */
  port: number;
  /** Folder of the data; it is created if need be. Absent: everything is only in memory. */
  folder?: string;
  /** Virtual hosts besides "/". */
  vhosts?: string[];
  /** A user to add, or whose password to change. Without any user there is guest. */
  user?: { name: string; password: string };
  /** Certificate chain and key in PEM: the listeners speak TLS. */
  tls?: { cert: string; key: string };
  limits?: Partial<Limits>;
  /** For connection.start. */
  version: string;
  log: Logger;
}

/** Both loopbacks: clients that connect to "localhost" may try either first. */
const LOOPBACKS = ["127.0.0.1", "::1"];

/** Milliseconds that clients have to agree to our end. */
const SHUTDOWN_MS = 2_000;

/** A running broker. */
export class Broker implements QueueHost {
  readonly store: Store;
  readonly memory: MemoryUse;
  readonly deadlines = new Deadlines();
  readonly #options: BrokerOptions;
  readonly #limits: Limits;
  readonly #vhosts = new Map<string, VirtualHost>();
  readonly #deadLetters = new DeadLetters(
    this.#vhosts,
    this.deadlines,
    () => this.#turn.schedule(),
  );
  readonly #turn: Turn;
  readonly #alarms: Alarms;
  readonly #users: Users;
  readonly #replyTo = new ReplyTo();
  readonly #sessions = new Set<Session>();
  /** Sockets, those in their handshake included. */
  readonly #connections = new Set<Deno.Conn>();
  #listeners: Deno.Listener[] = [];
  #nextSessionId = 1;
  #stopping = false;
  #onLastGone: (() => void) | undefined;
  #sweeper: ReturnType<typeof setTimeout> | undefined;

  /**
   * Opens the data and starts to listen.
   * @throws {ToolError} when the data or the address cannot be used
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options);
    try {
      if (options.user !== undefined) {
        await broker.#users.add(options.user.name, options.user.password);
      }
      broker.#listen();
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.memory = new MemoryUse(this.#limits.memoryBytes);
    const folder = options.folder;
    if (folder !== undefined) createFolder(folder);
    this.store = new Store({ folder, onFailure: (reason) => this.#alarms.setStore(reason) });
    this.#turn = new Turn(this.store, this.#deadLetters);
    this.#alarms = new Alarms({
      folder,
      diskFreeBytes: this.#limits.diskFreeBytes,
      log: options.log,
      onClear: () => this.#unblock(),
    });
    this.#users = new Users(this.store);
    for (const name of ["/", ...options.vhosts ?? []]) {
      this.#vhosts.set(name, new VirtualHost(name, this));
    }
    this.#restore();
    this.#sweep();
  }

  /** The port that was taken. */
  get port(): number {
    return (this.#listeners[0]!.addr as Deno.NetAddr).port;
  }

  /** Where clients connect to. */
  get urls(): string[] {
    const scheme = this.#options.tls === undefined ? "amqp" : "amqps";
    return this.#listeners.map(({ addr }) => {
      const { hostname, port } = addr as Deno.NetAddr;
      return `${scheme}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
    });
  }

  // -- start --

  /** A virtual host that holds data exists, whether it was named this time or not. */
  #restore(): void {
    const { store } = this;
    for (const exchange of store.exchanges()) this.#vhost(exchange.vhost).restoreExchange(exchange);
    const lanes = Map.groupBy(store.lanes(), ({ queue }) => queue);
    for (const queue of store.queues()) {
      this.#vhost(queue.vhost).restoreQueue(queue, lanes.get(queue.id) ?? []);
    }
    for (const binding of store.bindings()) this.#vhost(binding.vhost).restoreBinding(binding);
  }

  #vhost(name: string): VirtualHost {
    let vhost = this.#vhosts.get(name);
    if (vhost === undefined) this.#vhosts.set(name, vhost = new VirtualHost(name, this));
    return vhost;
  }

  #listen(): void {
    const { hosts, tls } = this.#options;
    let { port } = this.#options;
    for (const hostname of hosts ?? LOOPBACKS) {
      try {
        const listener = tls === undefined
          ? Deno.listen({ hostname, port })
          : Deno.listenTls({ hostname, port, ...tls });
        this.#listeners.push(listener);
        port = (listener.addr as Deno.NetAddr).port;
      } catch (error) {
        // A machine may have no IPv6; what was asked for by name must work.
        if (hosts === undefined && hostname === "::1" && this.#listeners.length > 0) continue;
        throw new ToolError(
          `Cannot listen on ${hostname} port ${port}: ${(error as Error).message}`,
          EXIT.temporary,
          { cause: error },
        );
      }
    }
    for (const listener of this.#listeners) this.#accept(listener);
  }

  async #accept(listener: Deno.Listener): Promise<void> {
    while (!this.#stopping) {
      let connection: Deno.Conn;
      try {
        connection = await listener.accept();
      } catch (error) {
        if (this.#stopping) return;
        this.#options.log.warn("cannot accept a connection", { error: (error as Error).message });
        // Out of file descriptors, for one: trying again at once would be a busy loop.
        await new Promise<void>((resolve) => this.deadlines.add(Date.now() + 100, resolve));
        continue;
      }
      if (this.#connections.size >= this.#limits.connections) {
        this.#options.log.warn("connection refused: too many", { most: this.#limits.connections });
        closeQuietly(connection);
        continue;
      }
      this.#serve(connection);
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    this.#connections.add(connection);
    try {
      if ("setNoDelay" in connection) (connection as Deno.TcpConn).setNoDelay();
      const login = await shakeHands(connection, {
        ...{ limits: this.#limits, users: this.#users, vhosts: this.#vhosts },
        ...{ deadlines: this.deadlines, version: this.#options.version, log: this.#options.log },
      });
      if (login === undefined || this.#stopping) return;
      const session = new Session(this.#nextSessionId++, login, this.#sessionHost());
      this.#sessions.add(session);
      try {
        await session.run();
      } finally {
        this.#sessions.delete(session);
      }
    } catch (error) {
      if (!isConnectionLoss(error)) {
        this.#options.log.error("a fault in the broker", {
          error: (error as Error).stack ?? String(error),
        });
      }
    } finally {
      this.#connections.delete(connection);
      closeQuietly(connection);
      if (this.#connections.size === 0) this.#onLastGone?.();
    }
  }

  #sessionHost(): SessionHost {
    return {
      ...{ limits: this.#limits, turn: this.#turn, deadlines: this.deadlines },
      ...{ replyTo: this.#replyTo, alarms: this.#alarms, log: this.#options.log },
    };
  }

  // -- what queues ask for --

  deadLetter(queue: Queue, message: Message, reason: DeathReason): void {
    this.#deadLetters.add(queue, message, reason);
  }

  deleteQueue(queue: Queue): void {
    this.#vhosts.get(queue.vhost)!.deleteQueue(queue);
    this.#turn.schedule();
  }

  #unblock(): void {
    for (const session of this.#sessions) session.unblock();
  }

  /** Deletes the rows of purged messages between other work. */
  #sweep(): void {
    const more = this.store.sweep();
    this.#sweeper = setTimeout(() => this.#sweep(), more ? 5 : 1_000);
  }

  // -- end --

  /** Finishes the commit, tells clients with 320, and closes the data. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const listener of this.#listeners) listener.close();
    const reason = new Fault(
      "connection-forced",
      "broker forced connection closure with reason 'shutdown'",
    );
    for (const session of this.#sessions) session.close(reason);
    await this.#whenDisconnected();
    this.#turn.stop();
    this.deadlines.stop();
    this.#alarms.stop();
    clearTimeout(this.#sweeper);
    this.store.close();
  }

  /** Waits for clients to leave, and then does not wait any more. */
  async #whenDisconnected(): Promise<void> {
    this.deadlines.add(Date.now() + SHUTDOWN_MS, () => {
      for (const connection of this.#connections) closeQuietly(connection);
    });
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => this.#onLastGone = resolve);
  }
}

function createFolder(folder: string): void {
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new ToolError(
      `Cannot create the data folder ${folder}: ${(error as Error).message}`,
      EXIT.noInput,
      { cause: error },
    );
  }
}
