/** Everybody who connects, from the acceptance of the socket to its end. */

import type { Deadlines } from "../../time/deadlines.ts";
import type { Fault } from "../wire/faults.ts";
import type { HandshakeHost } from "./handshake.ts";
import type { Serving } from "./serving.ts";
import type { Session, SessionHost } from "./session.ts";
import { closeQuietly, isConnectionLoss, type Socket } from "../net/socket.ts";
import { ThrottledWarning } from "../net/throttled_warning.ts";
import type { Logger } from "../../observe/log.ts";

/** Milliseconds that clients have to agree to our end. */
const SHUTDOWN_MS = 2_000;

export interface ReceptionHost {
  /** Connections at a time. */
  readonly most: number;
  readonly deadlines: Deadlines;
  readonly log: Logger;
  /** What handshakes need to know. */
  handshakeHost(): HandshakeHost;
  /** What sessions share. */
  sessionHost(): SessionHost;
  /** Somebody is there: does what costs time and is needed before he publishes. */
  prepare(): Promise<void>;
  onFault(error: unknown): void;
}

export class Reception {
  readonly sessions = new Set<Session>();
  readonly #host: ReceptionHost;
  /** Sockets, those in their handshake included. */
  readonly #connections = new Set<Socket>();
  readonly #crowd = new ThrottledWarning();
  #nextSessionId = 1;
  #isClosed = false;
  #onLastGone: (() => void) | undefined;

  constructor(host: ReceptionHost) {
    this.#host = host;
  }

  /** Serves a connection until its end, or refuses it. */
  admit(connection: Socket, serving: Serving): void {
    const { log, most } = this.#host;
    if (this.#connections.size < most) return void this.#serve(connection, serving);
    this.#crowd.happened((times) => log.warn("connection refused: too many", { most, times }));
    closeQuietly(connection);
  }

  async #serve(connection: Socket, { shakeHands, Session }: Serving): Promise<void> {
    this.#connections.add(connection);
    try {
      const login = await shakeHands(connection, this.#host.handshakeHost());
      if (login === undefined) return;
      await this.#host.prepare();
      if (this.#isClosed) return;
      const session = new Session(this.#nextSessionId++, login, this.#host.sessionHost());
      this.sessions.add(session);
      try {
        await session.run();
      } finally {
        this.sessions.delete(session);
      }
    } catch (error) {
      if (!isConnectionLoss(error)) this.#host.onFault(error);
    } finally {
      this.#connections.delete(connection);
      closeQuietly(connection);
      if (this.#connections.size === 0) this.#onLastGone?.();
    }
  }

  /**
   * No more sessions from now on.
   * @param reason told to clients
   * @returns resolves when they have left, or have had the time for it
   */
  async close(reason: Fault): Promise<void> {
    this.#isClosed = true;
    for (const session of this.sessions) session.close(reason);
    this.#host.deadlines.after(SHUTDOWN_MS, () => {
      for (const connection of this.#connections) closeQuietly(connection);
    });
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => this.#onLastGone = resolve);
  }
}
