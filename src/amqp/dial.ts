/** Opens the byte stream under an AMQP connection: TCP, or TLS with RabbitMQ's options. */
import { ConnectionError, EXIT, reason } from "../errors.ts";
import { type ConnectAttempt, isAddress } from "./reach.ts";
import { type Pem, readPem } from "./tls_trust.ts";
import { type Endpoint, redact } from "./url.ts";
import type { TLSSocket } from "node:tls";

/** A connected byte stream. */
export interface Socket {
  /** Bytes read into `buffer`, or null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Bytes taken of `bytes`, at least one. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends it at once; pending reads and writes fail. */
  close(): void;
}

/**
 * Connects to an endpoint by its name, or by one of its addresses.
 *
 * @param attempt its signal gives up: what is half open is closed, and the promise may never settle
 * @throws {ConnectionError} unreachable (75), not trusted (75, fatal), without TLS (76, fatal)
 * @throws {InputError} a certificate file cannot be read (66)
 */
export async function dial(endpoint: Endpoint, attempt: ConnectAttempt): Promise<Socket> {
  if (!endpoint.tls) return await dialTcp(endpoint, attempt);
  const pem = await readPem(endpoint.trust);
  const { verify = true, serverName } = endpoint.trust;
  const isName = attempt.host === endpoint.host;
  if (!verify || serverName !== undefined || (!isName && pem.cert !== undefined)) {
    return await dialWithNodeTls(endpoint, pem, attempt);
  }
  const { signal } = attempt;
  const conn = await (isName ? connectTls(endpoint, pem) : startTls(endpoint, pem, attempt))
    .catch((error) => refuse(endpoint, error));
  attempt.taken ??= (conn.remoteAddr as Deno.NetAddr).hostname;
  let open = true;
  function giveUp(): void {
    if (open) conn.close();
    open = false;
  }
  signal.addEventListener("abort", giveUp);
  try {
    if (signal.aborted) giveUp();
    await conn.handshake();
  } catch (error) {
    giveUp();
    refuse(endpoint, error);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
  (conn as unknown as Deno.TcpConn).setNoDelay?.(true);
  return conn;
}

async function dialTcp(endpoint: Endpoint, attempt: ConnectAttempt): Promise<Deno.TcpConn> {
  const { host: hostname, signal } = attempt;
  const conn = await Deno.connect({ hostname, port: endpoint.port, signal })
    .catch((error) => refuse(endpoint, error));
  attempt.taken = (conn.remoteAddr as Deno.NetAddr).hostname;
  conn.setNoDelay(true);
  conn.setKeepAlive(true);
  return conn;
}

function connectTls({ host, port }: Endpoint, { ca, cert, key }: Pem): Promise<Deno.TlsConn> {
  return Deno.connectTls({
    hostname: host,
    port,
    ...(ca === undefined ? {} : { caCerts: [ca] }),
    ...(cert === undefined ? {} : { cert, key: key! }),
  });
}

/** TLS to one address of a name, which the certificate must be for. */
async function startTls(
  endpoint: Endpoint,
  { ca }: Pem,
  attempt: ConnectAttempt,
): Promise<Deno.TlsConn> {
  return await Deno.startTls(await dialTcp(endpoint, attempt), {
    hostname: endpoint.host.replace(/\.$/, ""),
    ...(ca === undefined ? {} : { caCerts: [ca] }),
  });
}

/**
 * What Deno.connectTls cannot do: skip the check of the certificate, or check it against another
 * name. node:tls costs start-up time, so only these cases pay for it.
 */
async function dialWithNodeTls(
  endpoint: Endpoint,
  pem: Pem,
  { host, signal }: ConnectAttempt,
): Promise<Socket> {
  const [{ connect }, streams] = await Promise.all([import("node:tls"), import("node:stream")]);
  const { serverName, verify = true } = endpoint.trust;
  const socket = connect({
    host,
    port: endpoint.port,
    servername: serverName ?? (isAddress(endpoint.host) ? "" : endpoint.host),
    rejectUnauthorized: verify,
    ...pem,
  });
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
    signal.addEventListener("abort", reject);
    if (signal.aborted) reject(signal.reason);
  }).catch((error) => {
    socket.destroy();
    refuse(endpoint, error);
  });
  return socketOf(socket, streams);
}

/** What node:tls has connected, as a byte stream of ours. */
function socketOf(
  socket: TLSSocket,
  { Readable, Writable }: Pick<typeof import("node:stream"), "Readable" | "Writable">,
): Socket {
  // The streams may end before the reason is known; Deno 2.4 says secureConnect before the
  // handshake, so that its failure is such a reason.
  let failure: unknown;
  socket.on("error", (error) => failure = error);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const reader = (Readable.toWeb(socket) as ReadableStream<Uint8Array>).getReader();
  const writer = (Writable.toWeb(socket) as WritableStream<Uint8Array>).getWriter();
  let left: Uint8Array | undefined;
  return {
    async read(buffer) {
      const chunk = left ?? (await reader.read()).value;
      if (chunk === undefined) {
        await closed;
        if (failure !== undefined) throw failure;
        return null;
      }
      const n = Math.min(chunk.length, buffer.length);
      buffer.set(chunk.subarray(0, n));
      left = n < chunk.length ? chunk.subarray(n) : undefined;
      return n;
    },
    async write(bytes) {
      try {
        await writer.ready;
        await writer.write(bytes.slice());
      } catch (error) {
        await closed;
        throw failure ?? error;
      }
      return bytes.length;
    },
    close() {
      socket.destroy();
    },
  };
}

function refuse(endpoint: Endpoint, error: unknown): never {
  if (error instanceof ConnectionError) throw error;
  throw tlsFault(endpoint, error) ??
    new ConnectionError(
      `cannot connect to ${redact(endpoint)}: ${reason(error)}`,
      EXIT.temporary,
      false,
      { cause: error },
    );
}

/** Why TLS cannot be had at this port, where that is the fault; it may come with the first read. */
export function tlsFault(endpoint: Endpoint, cause: unknown): ConnectionError | undefined {
  const why = reason(cause);
  const fault = (sentence: string, exitCode: number, fatal: boolean) =>
    new ConnectionError(
      `cannot connect to ${redact(endpoint)}: ${sentence}`,
      exitCode,
      fatal,
      { cause },
    );
  if (/InvalidContentType|wrong version number/i.test(why)) {
    return fault(
      "the server must speak TLS at this port, and does not; amqp:// is without TLS",
      EXIT.protocol,
      true,
    );
  }
  // A broker that is just starting or stopping does the same.
  if (/unexpected end of file|before secure TLS connection/i.test(why)) {
    return fault(
      "the server must speak TLS at this port, and closed the socket instead; amqp:// is without TLS",
      EXIT.temporary,
      false,
    );
  }
  // A certificate, of ours or theirs: unlike a broken handshake it stays so.
  if (/certificate|UnknownIssuer|NotValidFor|self.signed|CERT_|ALTNAME/i.test(why)) {
    return fault(why + remedyOf(why, endpoint), EXIT.temporary, true);
  }
  return undefined;
}

/** What to do about a certificate, where that is known. */
function remedyOf(why: string, { optionPrefix = "--", trust }: Endpoint): string {
  if (/UnknownIssuer|self.signed|unable to (get|verify)/i.test(why)) {
    return `; ${optionPrefix}cacert or cacertfile in the URL names the authority to trust`;
  }
  if (/CaUsedAsEndEntity/.test(why)) {
    return "; the server needs one that is no authority's (CA:FALSE)";
  }
  // The broker's alert, as Deno and as OpenSSL have it.
  if (/CertificateRequired|certificate required/i.test(why) && trust.certfile === undefined) {
    return `; ${optionPrefix}cert and ${optionPrefix}key, or certfile and keyfile in the URL, name ours`;
  }
  return "";
}
