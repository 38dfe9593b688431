/** A server of node:http that is made anew when it takes no connections any more. */
import type { Server } from "node:http";
import { deadline } from "../time/deadline.ts";

/** How long the end of a server may take, in milliseconds. */
const CLOSED_MS = 2_000;

/**
 * After the process was out of file descriptors for a moment a server takes no connections, for
 * good: in Deno 2.9 without an event, before that because nothing listens any more, and the server
 * cannot be closed, either.
 */
export class Listening {
  readonly #make: () => Server;
  #server: Server;
  /** Where it listens. */
  readonly bound: { readonly address: string; readonly port: number };
  readonly #watch: ReturnType<typeof setInterval>;
  #isStopped = false;
  /** A connection or a request came since the last look. */
  #isHeard = false;
  /** The server tells of connections: it does not before Deno 2.9. */
  #tells = false;
  /** Since the last look one of ours was made, and was not heard of. */
  #isDeaf = false;
  #isLooking = false;

  private constructor(make: () => Server, server: Server, silenceMs: number) {
    this.#make = make;
    this.#server = server;
    this.bound = server.address() as { address: string; port: number };
    this.#hear(server);
    this.#watch = setInterval(() => this.#look(), silenceMs);
  }

  /**
   * @param silenceMs without a connection for so long, it tries whether any is taken
   * @throws of node:http: it cannot listen there
   */
  static async open(
    make: () => Server,
    { hostname, port }: { readonly hostname: string; readonly port: number },
    silenceMs: number,
  ): Promise<Listening> {
    const server = make();
    await listen(server, port, hostname);
    return new Listening(make, server, silenceMs);
  }

  /** It is not made anew from here on. @returns the server, to be closed */
  stop(): Server {
    this.#isStopped = true;
    clearInterval(this.#watch);
    return this.#server;
  }

  #hear(server: Server): void {
    const heard = () => {
      this.#isHeard = true;
      this.#isDeaf = false;
    };
    server.on("request", heard);
    server.on("connection", () => {
      this.#tells = true;
      heard();
    });
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    if (this.#isHeard) this.#isHeard = false;
    else if (this.#isDeaf) await this.#renew();
    else await this.#try();
    this.#isLooking = false;
  }

  /** Connects, and leaves again. */
  async #try(): Promise<void> {
    const { address, port } = this.bound;
    const hostname = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
    // Before it comes: its own event takes this back.
    this.#isDeaf = this.#tells;
    try {
      (await Deno.connect({ hostname, port })).close();
    } catch (error) {
      this.#isDeaf = false; // no file descriptor is left
      if (error instanceof Deno.errors.ConnectionRefused) await this.#renew();
    }
  }

  async #renew(): Promise<void> {
    await close(this.#server);
    if (this.#isStopped) return;
    const server = this.#make();
    this.#hear(server);
    try {
      await listen(server, this.bound.port, this.bound.address);
    } catch {
      this.#isDeaf = true; // again at the next look
      return;
    }
    if (this.#isStopped) return void await close(server);
    this.#server = server;
    this.#isDeaf = false;
  }
}

function listen(server: Server, port: number, hostname: string): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Never throws. */
async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
  await deadline(closed, CLOSED_MS, () => new Error("late")).catch(() => {});
}
