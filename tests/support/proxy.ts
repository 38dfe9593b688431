/**
 * A TCP proxy between a client and a broker that can do to a connection what networks do: cut,
 * end, swallow, delay, slow down, truncate. Settings hold for all its connections, present and
 * future, until changed. On node:net because Deno's own sockets cannot send an RST.
 */
import { once } from "node:events";
import { connect, createServer, type Server, Socket } from "node:net";
import { Mailbox } from "./wait.ts";

export type Direction = "toServer" | "toClient";

/** The first byte of a heartbeat's frame. */
const HEARTBEAT_FRAME = 8;

/** Characters that are kept of what was swallowed. */
const SWALLOWED_KEPT = 65_536;

/** How one direction treats bytes. */
interface Faults {
  /** Swallows everything while both sides stay connected. */
  blackHole: boolean;
  /** Milliseconds each chunk waits. */
  delayMs: number;
  /** Bytes per second; 0 is unlimited. */
  bytesPerSecond: number;
  /** Bytes that may still pass, over all connections, before the connection is cut. */
  bytesLeft: number;
}

function noFaults(): Faults {
  return { blackHole: false, delayMs: 0, bytesPerSecond: 0, bytesLeft: Infinity };
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  ended: Promise<unknown>;
}

export class Proxy implements AsyncDisposable {
  readonly #listener: Server;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  readonly #faults: Record<Direction, Faults> = { toServer: noFaults(), toClient: noFaults() };
  readonly #pauses = new Set<() => void>();
  readonly #accepted = new Mailbox<number>("connection through the proxy");
  readonly #heartbeats: Record<Direction, Mailbox<void>> = {
    toServer: new Mailbox("heartbeat of the client"),
    toClient: new Mailbox("heartbeat of the broker"),
  };
  readonly #muted = new Set<number>();
  readonly #swallowed: Record<Direction, string> = { toServer: "", toClient: "" };
  #refusing = false;
  #closing = false;
  #count = 0;

  /** @param target port of 127.0.0.1 */
  private constructor(target: number) {
    this.#target = target;
    this.#listener = createServer({ noDelay: true }, (client) => this.#join(client));
  }

  /** Listens on a free port of 127.0.0.1, or where it is told to. */
  static async start(target: number, port = 0, hostname = "127.0.0.1"): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#listener.listen(port, hostname);
    await once(proxy.#listener, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#listener.address() as { port: number }).port;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}/`;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Connections that were ever made. */
  get total(): number {
    return this.#count;
  }

  /** Waits for a connection that no earlier call has waited for. */
  async connected(ms?: number): Promise<void> {
    await this.#accepted.next(ms);
  }

  /** Waits for so many heartbeats that come alone, and that no earlier call has waited for. */
  async heartbeats(direction: Direction, count: number): Promise<void> {
    await this.#heartbeats[direction].take(count);
  }

  /** The end of what was swallowed, each byte a character. */
  swallowed(direction: Direction): string {
    return this.#swallowed[direction];
  }

  /** Both directions, or one, behave again, and connections are taken. What was swallowed is lost. */
  heal(direction?: Direction): void {
    for (const one of directions(direction)) Object.assign(this.#faults[one], noFaults());
    this.#refusing = false;
  }

  /** Swallows all bytes while both sides stay connected. */
  blackHole(direction?: Direction): void {
    for (const one of directions(direction)) this.#faults[one].blackHole = true;
  }

  /** Swallows what one client sends from now on; 1 is the first connection ever made. */
  mute(connection: number): void {
    this.#muted.add(connection);
  }

  delay(ms: number, direction?: Direction): void {
    for (const one of directions(direction)) this.#faults[one].delayMs = ms;
  }

  throttle(bytesPerSecond: number, direction?: Direction): void {
    for (const one of directions(direction)) this.#faults[one].bytesPerSecond = bytesPerSecond;
  }

  /** Lets this many further bytes pass in a direction, then cuts the connection (RST). */
  truncate(bytes: number, direction: Direction): void {
    this.#faults[direction].bytesLeft = bytes;
  }

  /** New connections are reset at once; present ones stay. */
  refuse(): void {
    this.#refusing = true;
  }

  /** Ends all connections with an RST, as a crashed host or an impatient firewall does. */
  async cut(): Promise<void> {
    await this.#endAll(reset);
  }

  /** Ends all connections with a FIN. */
  async end(): Promise<void> {
    await this.#endAll((socket) => socket.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#listener, "close");
    this.#closing = true;
    this.#listener.close();
    await this.end();
    await closed;
  }

  async #endAll(end: (socket: Socket) => void): Promise<void> {
    const pairs = [...this.#pairs];
    for (const { client, server } of pairs) {
      end(client);
      end(server);
    }
    for (const resume of this.#pauses) resume();
    await Promise.all(pairs.map((pair) => pair.ended));
  }

  #join(client: Socket): void {
    client.on("error", () => {}); // the pump ends by it
    if (this.#refusing || this.#closing) {
      reset(client);
      return;
    }
    const server = connect({ host: "127.0.0.1", port: this.#target, noDelay: true });
    server.on("error", () => client.destroy()); // broker down: the client sees an end
    const pair: Pair = { client, server, ended: Promise.resolve() };
    const number = ++this.#count;
    pair.ended = Promise.all([
      this.#pump(client, server, "toServer", number),
      this.#pump(server, client, "toClient"),
    ]).finally(() => this.#pairs.delete(pair));
    this.#pairs.add(pair);
    this.#accepted.put(number);
  }

  /** @param client number of the connection whose client sends this */
  async #pump(from: Socket, to: Socket, direction: Direction, client = 0): Promise<void> {
    const faults = this.#faults[direction];
    try {
      for await (const chunk of from as AsyncIterable<Uint8Array>) {
        if (chunk[0] === HEARTBEAT_FRAME) this.#heartbeats[direction].put();
        if (faults.blackHole || this.#muted.has(client)) {
          const text = this.#swallowed[direction] + new TextDecoder("latin1").decode(chunk);
          this.#swallowed[direction] = text.slice(-SWALLOWED_KEPT);
          continue;
        }
        const wait = faults.delayMs +
          (faults.bytesPerSecond > 0 ? 1000 * chunk.length / faults.bytesPerSecond : 0);
        if (wait > 0) await this.#pause(wait);
        const passing = chunk.subarray(0, Math.min(chunk.length, faults.bytesLeft));
        faults.bytesLeft -= passing.length;
        if (!to.write(passing) && !to.destroyed) await drained(to);
        if (faults.bytesLeft <= 0) {
          to.end(() => reset(to));
          reset(from);
          return;
        }
      }
      to.end();
    } catch {
      // One side is gone; the other one learns it the same way.
      from.destroy();
      to.destroy();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(resume);
        resolve();
      };
      const timer = setTimeout(resume, ms);
      this.#pauses.add(resume);
    });
  }
}

/** Waits until a socket has room, or is gone. */
async function drained(socket: Socket): Promise<void> {
  const over = new AbortController();
  try {
    const { signal } = over;
    await Promise.race([once(socket, "drain", { signal }), once(socket, "close", { signal })]);
  } finally {
    over.abort();
  }
}

/** Whether this Deno can end a connection with an RST; Deno 2.4 cannot, and sends a FIN. */
export const canReset: boolean = "resetAndDestroy" in Socket.prototype;

function reset(socket: Socket): void {
  if (canReset) socket.resetAndDestroy();
  else socket.destroy();
}

function directions(direction: Direction | undefined): readonly Direction[] {
  return direction ? [direction] : ["toServer", "toClient"];
}
