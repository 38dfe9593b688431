/**
 * TLS in front of the broker. Deno can only speak it on a listener of its own, whose certificate
 * cannot be exchanged and whose connections stay open until their TLS handshake ends, closed or
 * not: whoever never ends it would keep file descriptors for ever. So strangers are accepted as
 * plain TCP, which can be closed at any time, and their bytes are passed to a listener that is
 * only for us.
 */

import { EXIT, InputError } from "../../errors.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import { acceptAll } from "./accepting.ts";
import { closeQuietly, type Socket } from "./socket.ts";

/** Certificate chain and key in PEM. */
export interface Certificate {
  cert: string;
  key: string;
}

/** Milliseconds for what was written before the end to reach the client. */
const LINGER_MS = 5_000;

/** Milliseconds for a connection to arrive at the inner listener. */
const INNER_MS = 2_000;

/** Milliseconds after which a connection to the inner listener that is not ours is closed. */
const STRANGER_MS = 1_000;

const INSIDE = "127.0.0.1";

const BUFFER_BYTES = 64 * 1024;

export class TlsGate {
  readonly #deadlines: Deadlines;
  #listener: Deno.TlsListener;
  /** Connections of ours that wait for their inner end, by their port; and inner ends for ours. */
  readonly #expected = new Map<number, (inner: Deno.TlsConn) => void>();
  readonly #arrived = new Map<number, Deno.TlsConn>();

  /** @throws {InputError} when the certificate cannot be used */
  constructor(certificate: Certificate, deadlines: Deadlines) {
    this.#deadlines = deadlines;
    this.#listener = listenInside(certificate);
    this.#accept(this.#listener);
  }

  /** New connections get another certificate. @throws {InputError} and keeps the former one */
  renew(certificate: Certificate): void {
    const former = this.#listener;
    this.#listener = listenInside(certificate);
    this.#accept(this.#listener);
    // Connections may be on their way to it.
    this.#deadlines.after(STRANGER_MS, () => former.close());
  }

  close(): void {
    this.#listener.close();
    for (const inner of this.#arrived.values()) inner.close();
  }

  /** The connection as the broker sees it: without TLS. */
  async open(outer: Deno.TcpConn): Promise<Socket> {
    const relay = await Deno.connect({ hostname: INSIDE, port: this.#listener.addr.port });
    relay.setNoDelay();
    let inner: Deno.TlsConn;
    try {
      inner = await this.#innerEndOf(relay);
    } catch (error) {
      relay.close();
      throw error;
    }
    const closeBoth = () => {
      closeQuietly(outer);
      closeQuietly(relay);
    };
    Promise.all([pass(outer, relay), pass(relay, outer)]).then(closeBoth, closeBoth);
    return new TlsSocket(inner, outer, this.#deadlines);
  }

  #innerEndOf(relay: Deno.TcpConn): Promise<Deno.TlsConn> {
    const { port } = relay.localAddr;
    const inner = this.#arrived.get(port);
    this.#arrived.delete(port);
    if (inner !== undefined) return Promise.resolve(inner);
    return new Promise((resolve, reject) => {
      // Without file descriptors it does not come, and this one would keep two of them.
      const late = this.#deadlines.after(INNER_MS, () => {
        this.#expected.delete(port);
        reject(new Error("too many open connections for TLS"));
      });
      this.#expected.set(port, (inner) => {
        this.#deadlines.cancel(late);
        resolve(inner);
      });
    });
  }

  #accept(listener: Deno.TlsListener): void {
    acceptAll(listener, this.#deadlines, { onConnection: (inner) => this.#arrive(inner) });
  }

  #arrive(inner: Deno.TlsConn): void {
    const { port } = inner.remoteAddr;
    const expect = this.#expected.get(port);
    this.#expected.delete(port);
    if (expect !== undefined) expect(inner);
    else this.#keep(port, inner);
  }

  /** It came before our side of it knew that it is connected, or it is not ours. */
  #keep(port: number, inner: Deno.TlsConn): void {
    this.#arrived.set(port, inner);
    this.#deadlines.after(STRANGER_MS, () => {
      if (this.#arrived.get(port) !== inner) return;
      this.#arrived.delete(port);
      inner.close();
    });
  }
}

/** The inner end of a connection, which ends the outer one. */
class TlsSocket implements Socket {
  readonly #inner: Deno.TlsConn;
  readonly #outer: Deno.TcpConn;
  readonly #deadlines: Deadlines;
  readonly remoteAddr: Deno.NetAddr;
  #isSecured = false;

  constructor(inner: Deno.TlsConn, outer: Deno.TcpConn, deadlines: Deadlines) {
    this.#inner = inner;
    this.#outer = outer;
    this.#deadlines = deadlines;
    this.remoteAddr = outer.remoteAddr;
    inner.handshake().then(() => this.#isSecured = true, () => closeQuietly(outer));
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#inner.read(buffer);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#inner.write(bytes);
  }

  /** What was written still goes out, if the client reads it soon. */
  close(): void {
    this.#inner.close();
    if (!this.#isSecured) return closeQuietly(this.#outer);
    this.#deadlines.after(LINGER_MS, () => closeQuietly(this.#outer));
  }
}

/** Passes bytes on to their end. */
async function pass(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (;;) {
    const count = await from.read(buffer);
    if (count === null) return await to.closeWrite();
    for (let sent = 0; sent < count;) sent += await to.write(buffer.subarray(sent, count));
  }
}

/** @throws {InputError} when certificate or key cannot be used */
function listenInside(certificate: Certificate): Deno.TlsListener {
  try {
    return Deno.listenTls({ hostname: INSIDE, port: 0, ...certificate });
  } catch (error) {
    throw new InputError(
      `cannot use the certificate and key of --tls-cert and --tls-key: ${(error as Error).message}`,
      EXIT.badData,
      { cause: error },
    );
  }
}
