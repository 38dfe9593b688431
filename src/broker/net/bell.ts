/**
 * Waiting until the event loop has looked at all sockets. A timer that is due and an immediate do not
 * wait for that: as long as there always is one, Deno looks at sockets each 61st time only. A byte
 * that goes to the kernel and comes back is not there before: the process has a connection to itself.
 *
 * States: absent, until somebody waits > opening > open > closed, or opening > closed.
 */

import { LOOPBACKS } from "../../amqp/loopback.ts";
import { closeQuietly } from "./socket.ts";

const BYTE = new Uint8Array(1);

export class Bell {
  #state: "absent" | "opening" | "open" | "closed" = "absent";
  #near: Deno.TcpConn | undefined;
  #far: Deno.TcpConn | undefined;
  /** To be run when the byte that is on its way comes, and when the one after it does. */
  #waiting: (() => void)[] = [];
  #next: (() => void)[] = [];

  /** Runs something once sockets were looked at, or soon where that is not known. */
  afterSockets(run: () => void): void {
    if (this.#state === "absent") this.#open();
    // A timer behind what is due now is the next best, and more than a millisecond late.
    if (this.#state !== "open") return void setImmediate(() => setTimeout(run, 0));
    this.#next.push(run);
    if (this.#waiting.length === 0) this.#ring();
  }

  /** Resolves once sockets were looked at. */
  heard(): Promise<void> {
    return new Promise((resolve) => this.afterSockets(resolve));
  }

  #ring(): void {
    this.#waiting = this.#next;
    this.#next = [];
    this.#near!.write(BYTE).catch(() => this.close());
  }

  async #open(): Promise<void> {
    this.#state = "opening";
    for (const hostname of LOOPBACKS) if (await this.#connect(hostname)) break;
    if (this.#far === undefined || this.#state !== "opening") return this.close();
    this.#state = "open";
    await this.#listen(this.#far);
    this.close();
  }

  /** @returns whether it is connected: there is such a loopback, and a file descriptor left */
  async #connect(hostname: string): Promise<boolean> {
    try {
      using listener = Deno.listen({ hostname, port: 0 });
      const near = await Deno.connect({ hostname, port: listener.addr.port });
      this.#near = near;
      near.setNoDelay();
      while (this.#far === undefined) {
        const far = await listener.accept();
        // Somebody else may have been quicker.
        if (portOf(far.remoteAddr) === portOf(near.localAddr)) this.#far = far;
        else closeQuietly(far);
      }
      return true;
    } catch {
      if (this.#near !== undefined) closeQuietly(this.#near);
      return false;
    }
  }

  /** Until it is closed. */
  async #listen(far: Deno.TcpConn): Promise<void> {
    const read = () => far.read(new Uint8Array(1)).catch(() => null);
    for (let reading = read(); await reading !== null;) {
      // Before the next byte is on its way: what is there already is read at once.
      reading = read();
      this.#answer();
    }
  }

  #answer(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (this.#next.length > 0) this.#ring();
    for (const run of waiting) run();
  }

  close(): void {
    this.#state = "closed";
    for (const end of [this.#near, this.#far]) if (end !== undefined) closeQuietly(end);
    for (const run of this.#waiting.splice(0)) setTimeout(run, 0);
    for (const run of this.#next.splice(0)) setTimeout(run, 0);
  }
}

function portOf(address: Deno.Addr): number {
  return (address as Deno.NetAddr).port;
}
