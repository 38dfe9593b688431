/** A server that plays a test's script with each client, right or wrong as the test wants it. */
import { Peer, PeerGone } from "./protocol_peer.ts";

/** A server on a free port that plays a script with each client that connects. */
export class ScriptedServer implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #peers: Peer[] = [];
  readonly #scripts: Promise<void>[] = [];
  readonly #accepting: Promise<void>;
  readonly #errors: unknown[] = [];
  #closing = false;

  /** @param script its `connection` counts from 1; the connection is cut when the script ends */
  constructor(
    script: (peer: Peer, connection: number) => Promise<void>,
    hostname = "127.0.0.1",
    port = 0,
  ) {
    this.#listener = Deno.listen({ hostname, port });
    this.#accepting = this.#accept(script);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}/`;
  }

  /** Clients that have connected so far. */
  get connections(): number {
    return this.#peers.length;
  }

  /** Ends; throws what a script threw, unless the client or this call ended its connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#listener.close();
    await this.#accepting;
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]();
    await Promise.all(this.#scripts);
    if (this.#errors.length > 0) throw this.#errors[0];
  }

  async #accept(script: (peer: Peer, connection: number) => Promise<void>): Promise<void> {
    while (!this.#closing) {
      let conn: Deno.Conn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#closing) return;
        throw error;
      }
      const peer = new Peer(conn);
      this.#peers.push(peer);
      this.#scripts.push(this.#play(script, peer, this.#peers.length));
    }
  }

  async #play(
    script: (peer: Peer, connection: number) => Promise<void>,
    peer: Peer,
    connection: number,
  ): Promise<void> {
    try {
      await script(peer, connection);
    } catch (error) {
      if (!(error instanceof PeerGone) && !this.#closing) this.#errors.push(error);
    } finally {
      peer.cut();
    }
  }
}
