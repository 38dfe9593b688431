/** The addresses on which a broker listens: taking them, their URLs, new certificates. */

import { isLocalhost, isLoopback, LOOPBACKS } from "../../amqp/loopback.ts";
import { listenError } from "../../observe/listen_error.ts";
import type { Logger } from "../../observe/log.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import type { Bell } from "./bell.ts";
import { acceptAll } from "./accepting.ts";
import { ThrottledWarning } from "./throttled_warning.ts";
import { closeQuietly, type Socket } from "./socket.ts";
import { type Certificate, TlsGate } from "./tls.ts";

export interface ListenerOptions {
  /** Addresses or names; undefined for both loopbacks, as far as the machine has them. */
  hosts: readonly string[] | undefined;
  /** 0 for a free one, the same for all addresses. */
  port: number;
  /** Absent: without TLS. */
  tls: Certificate | undefined;
  deadlines: Deadlines;
  bell: Bell;
  log: Logger;
}

/** On most systems this takes all IPv4 addresses too. */
const EVERY_ADDRESS = "::";

/** Free ports that are tried until one is free on every address. */
const MOST_TRIES = 20;

export class Listeners {
  readonly #options: ListenerOptions;
  readonly #tls: TlsGate | undefined;
  readonly #listeners: Deno.TcpListener[];
  readonly #shortage = new ThrottledWarning();
  #closed = false;

  /**
   * Takes the addresses: clients can connect from then on.
   * @throws {ToolError} when an address or the certificate cannot be used
   */
  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#tls = options.tls && new TlsGate(options.tls, options.deadlines);
    try {
      this.#listeners = takeAll(options);
    } catch (error) {
      this.#tls?.close();
      throw error;
    }
  }

  /**
   * Takes those who connect, as soon as that has come without which they cannot be served. Until
   * then they wait in the operating system.
   */
  acceptWith<T>(coming: Promise<T>, onConnection: (socket: Socket, come: T) => void): void {
    coming.then((come) => this.#accept((socket) => onConnection(socket, come)), reportError);
  }

  #accept(onConnection: (socket: Socket) => void): void {
    for (const listener of this.#listeners) {
      acceptAll(listener, this.#options.deadlines, {
        onConnection: (connection) => this.#open(connection, onConnection),
        onShortage: (error) => this.#warn("cannot accept a connection", error),
        bell: this.#options.bell,
      });
    }
  }

  get port(): number {
    return this.#listeners[0]!.addr.port;
  }

  /** Where clients connect to. */
  get urls(): string[] {
    const scheme = this.#tls === undefined ? "amqp" : "amqps";
    return this.#listeners.map((listener) => {
      const { hostname, port } = listener.addr;
      return `${scheme}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
    });
  }

  /** Whether other machines can connect. */
  get isOpen(): boolean {
    return this.#listeners.some((listener) => !isLoopback(listener.addr.hostname));
  }

  /**
   * New connections get another certificate.
   * @throws {ToolError} when it cannot be used; the former one stays
   */
  renew(certificate: Certificate): void {
    this.#tls?.renew(certificate);
  }

  /** Nobody is accepted any more. */
  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners) listener.close();
    this.#tls?.close();
  }

  async #open(connection: Deno.TcpConn, onConnection: (socket: Socket) => void): Promise<void> {
    try {
      connection.setNoDelay();
      const socket = this.#tls === undefined ? connection : await this.#tls.open(connection);
      onConnection(socket);
    } catch (error) {
      closeQuietly(connection);
      if (!this.#closed) this.#warn("cannot open a connection", error as Error);
    }
  }

  #warn(message: string, { message: error }: Error): void {
    this.#shortage.happened((times) => this.#options.log.warn(message, { error, times }));
  }
}

function takeAll(options: ListenerOptions): Deno.TcpListener[] {
  for (let tries = 1;; tries++) {
    const taken: Deno.TcpListener[] = [];
    try {
      takeInto(taken, options);
      return taken;
    } catch (error) {
      for (const listener of taken) listener.close();
      const unlucky = taken.length > 0 && options.port === 0 && isInUse(error);
      if (!unlucky || tries === MOST_TRIES) throw error;
    }
  }
}

function takeInto(taken: Deno.TcpListener[], { hosts, port }: ListenerOptions): void {
  // Clients that connect to "localhost" may try either loopback first.
  const wanted = [...new Set((hosts ?? ["localhost"]).flatMap(addressesOf))];
  const named = new Set(hosts);
  const hasEvery = wanted.includes(EVERY_ADDRESS);
  if (hasEvery) wanted.sort((one) => one === EVERY_ADDRESS ? -1 : 0);
  let missing: unknown;
  for (const host of wanted) {
    try {
      const listener = takeOne(host, port);
      taken.push(listener);
      port = listener.addr.port;
    } catch (error) {
      if (hasEvery && taken.length > 0 && isInUse(error)) continue;
      // A machine may lack one of the loopbacks; what was asked for by name must be there.
      if (named.has(host) || !isMissing(error)) throw error;
      missing = error;
    }
  }
  if (taken.length === 0) throw missing;
}

function addressesOf(host: string): readonly string[] {
  return isLocalhost(host) ? LOOPBACKS : [host];
}

/** @throws {ToolError} */
function takeOne(hostname: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    throw listenError(hostname, port, error);
  }
}

function isInUse(error: unknown): boolean {
  return (error as Error).cause instanceof Deno.errors.AddrInUse;
}

/** The machine has no such address, or no IPv6 at all. */
function isMissing(error: unknown): boolean {
  const cause = (error as Error).cause;
  return cause instanceof Deno.errors.AddrNotAvailable ||
    (cause as { code?: string } | undefined)?.code === "EAFNOSUPPORT";
}
