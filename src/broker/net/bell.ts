/**
 * Waiting until the event loop has looked at all sockets. A timer that is due and an immediate do not
 * wait for that: as long as there always is one, Deno looks at sockets each 61st time only. A byte
 * that goes to the kernel and comes back is not there before: the process has a connection to itself.
 *
 * States: absent, until somebody waits > opening > open > closed. Where the connection cannot be had,
 * or is lost, it is absent again, and nobody tries for a while.
 */

import { LOOPBACKS } from "../../amqp/loopback.ts";
import { after, type Timer } from "../../time/timer.ts";
import { closeQuietly } from "./socket.ts";

const BYTE = new Uint8Array(1);

/** Milliseconds between two looks whether bytes come at all: a new firewall may keep them. */
const LOOK_MS = 500;

/** Milliseconds until the next try, where there is no connection. */
const PAUSE_MS = 1_000;

/** The ends of the connection. */
interface Ends {
  readonly near: Deno.TcpConn;
  readonly far: Deno.TcpConn;
}

export class Bell {
  #state: "absent" | "opening" | "open" | "closed" = "absent";
  /** performance.now() from which it may be opened. */
  #from = 0;
  /** While it is open. */
  #ends: Ends | undefined;
  /** To be run when the byte that is on its way comes, and when the one after it does. */
  #waiting: (() => void)[] = [];
  #next: (() => void)[] = [];
  #look: Timer | undefined;

  /** Whether it tells when sockets were looked at; else a timer, which is late, has to do. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Runs something once sockets were looked at, or soon where that is not known. */
  afterSockets(run: () => void): void {
    if (this.#state === "absent" && performance.now() >= this.#from) this.#open();
    // A timer behind what is due now is the next best, and more than a millisecond late.
    if (this.#state !== "open") return void setImmediate(() => setTimeout(run, 0));
    this.#next.push(run);
    if (this.#waiting.length === 0) this.#ring();
  }

  /** Resolves once sockets were looked at. */
  heard(): Promise<void> {
    return new Promise((resolve) => this.afterSockets(resolve));
  }

  close(): void {
    this.#lose(this.#ends);
    this.#state = "closed";
  }

  async #open(): Promise<void> {
    this.#state = "opening";
    const ends = await connectToItself();
    if (this.#state !== "opening") return closeBoth(ends);
    this.#state = "open";
    this.#ends = ends;
    if (ends !== undefined) await this.#listen(ends.far);
    this.#lose(ends);
  }

  /** Until it is lost. */
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

  #ring(): void {
    this.#waiting = this.#next;
    this.#next = [];
    this.#look ??= this.#lookAgain(undefined);
    const ends = this.#ends!;
    ends.near.write(BYTE).catch(() => this.#lose(ends));
  }

  /** @param last who waited at the last look: this process itself may have stood still before */
  #lookAgain(last: (() => void)[] | undefined): Timer {
    return after(LOOK_MS, () => {
      this.#look = undefined;
      if (this.#waiting.length === 0) return;
      if (this.#waiting === last) this.#lose(this.#ends);
      else this.#look = this.#lookAgain(this.#waiting);
    });
  }

  /** There is no connection now: who waits goes on without. */
  #lose(ends: Ends | undefined): void {
    if (this.#state !== "open" || this.#ends !== ends) return;
    this.#state = "absent";
    this.#from = performance.now() + PAUSE_MS;
    this.#ends = undefined;
    this.#look?.cancel();
    this.#look = undefined;
    closeBoth(ends);
    for (const run of [...this.#waiting.splice(0), ...this.#next.splice(0)]) setTimeout(run, 0);
  }
}

/** @returns undefined: there is no loopback, or no file descriptor left */
async function connectToItself(): Promise<Ends | undefined> {
  for (const hostname of LOOPBACKS) {
    let near: Deno.TcpConn | undefined;
    try {
      using listener = Deno.listen({ hostname, port: 0 });
      near = await Deno.connect({ hostname, port: listener.addr.port });
      near.setNoDelay();
      for (;;) {
        const far = await listener.accept();
        if (isSame(far.remoteAddr, near.localAddr)) return { near, far };
        far.close(); // somebody else was quicker
      }
    } catch {
      near?.close();
    }
  }
  return undefined;
}

function closeBoth(ends: Ends | undefined): void {
  if (ends !== undefined) { for (const end of [ends.near, ends.far]) closeQuietly(end); }
}

function isSame(one: Deno.Addr, other: Deno.Addr): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
