/**
 * Sends requests to one web server. Redirects are not followed, and proxies of the environment not
 * used: nobody else is to see what a task holds.
 *
 * fetch() sends them over TCP, and node:http over unix sockets. There fetch() of Deno 2.5 and newer
 * writes targets as to a proxy ("POST http://localhost/path"), which many applications take for
 * another path; node:http of older ones ends the process when an answer is cut off.
 */
import { concat } from "@std/bytes/concat";
import type { IncomingMessage, request as HttpRequest } from "node:http";
import { readPemFile } from "../amqp/tls_trust.ts";
import { EXIT, InputError, reason, UsageError } from "../errors.ts";
import type { PostTarget } from "./post_target.ts";

export interface TlsFiles {
  /** PEM file of authorities to trust beside the usual ones. */
  readonly ca?: string;
  /** PEM files of the client certificate and its key. */
  readonly cert?: string;
  readonly key?: string;
}

/** The beginning of an answer; read it, or its connection stays taken. */
export interface HttpAnswer {
  readonly status: number;
  /** By its name in lower case; all values of one that came more than once, with commas between. */
  header(name: string): string | null;
  /** The first bytes of the body; closes the connection when there are more. */
  read(limit: number): Promise<{ readonly bytes: Uint8Array; readonly cut: boolean }>;
}

export interface HttpClient extends Disposable {
  /**
   * @param signal ends the answer, too
   * @throws no answer came, or the signal aborted
   */
  post(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpAnswer>;
}

/** Web servers close connections without requests after a time, Gunicorn after 2 s. */
const KEEP_IDLE_MS = 1_000;

const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
  .flatMap((name) => [name, name.toLowerCase()]);

/**
 * Ports of other protocols, which fetch() refuses (https://fetch.spec.whatwg.org/#port-blocking): a
 * task would fail for each attempt.
 */
const BLOCKED_PORTS: ReadonlySet<number> = new Set(
  `0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113
   115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554
   556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665
   6666 6667 6668 6669 6679 6697 10080`.split(/\s+/).map(Number),
);

/**
 * @throws {UsageError} the port is one of another protocol
 * @throws {InputError} a file cannot be read (66), or holds no such thing (65)
 */
export async function openHttpClient(target: PostTarget, files: TlsFiles): Promise<HttpClient> {
  if (target.socket === undefined) {
    const { port } = new URL(target.origin);
    if (BLOCKED_PORTS.has(Number(port || NaN))) {
      throw new UsageError(
        `--post must have a port that is free for HTTP (fetch() blocks some), and has ${port}`,
      );
    }
    return new FetchClient(target.origin, clientOptions(files));
  }
  if (/^2\.4\./.test(Deno.version.deno)) {
    const proxy = { transport: "unix", path: target.socket };
    return new FetchClient(target.origin, { proxy } as Deno.CreateHttpClientOptions);
  }
  return new UnixClient(target.socket, (await import("node:http")).request);
}

class FetchClient implements HttpClient {
  readonly #origin: string;
  readonly #client: Deno.HttpClient;

  constructor(origin: string, options: Deno.CreateHttpClientOptions) {
    this.#origin = origin;
    this.#client = withoutProxies(() => createClient(options));
  }

  async post(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const response = await fetch(this.#origin + path, {
      method: "POST",
      headers,
      body: body as Uint8Array<ArrayBuffer>,
      redirect: "manual",
      signal,
      client: this.#client,
    });
    return {
      status: response.status,
      header: (name) => response.headers.get(name),
      read: (limit) => readUpTo(response.body ?? [], limit),
    };
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** One connection a request: a unix socket has no handshake to spare. */
class UnixClient implements HttpClient {
  readonly #socket: string;
  readonly #request: typeof HttpRequest;

  constructor(socket: string, request: typeof HttpRequest) {
    this.#socket = socket;
    this.#request = request;
  }

  async post(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = this.#request({
        socketPath: this.#socket,
        path,
        method: "POST",
        headers: { ...headers, host: "localhost", "content-length": body.length },
        agent: false,
        signal,
      }, resolve);
      // Stays for errors after the answer, which its reader sees.
      request.on("error", reject);
      // Unasked; nobody else would see it, nor end the connection.
      request.on("upgrade", (answer, socket) => {
        socket.destroy();
        resolve(answer);
      });
      request.end(body);
    });
    // Whoever reads late sees it all the same.
    answer.on("error", () => {});
    return {
      status: answer.statusCode!,
      // In `headers` some that came twice are dropped.
      header: (name) => answer.headersDistinct[name]?.join(", ") ?? null,
      read: (limit) => readUpTo(answer, limit),
    };
  }

  [Symbol.dispose](): void {}
}

/** The first bytes of a body; closes the connection when there are more. */
export async function readUpTo(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limit: number,
): Promise<{ bytes: Uint8Array; cut: boolean }> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk.subarray(0, Math.max(0, limit - length)));
    length += chunk.length;
    // Leaving the loop closes what is left.
    if (length > limit) break;
  }
  return { bytes: concat(chunks), cut: length > limit };
}

/** @throws {InputError} */
function clientOptions({ ca, cert, key }: TlsFiles): Deno.CreateHttpClientOptions {
  return {
    http2: false,
    poolIdleTimeout: KEEP_IDLE_MS,
    ...(ca === undefined ? {} : { caCerts: [readPemFile(ca)] }),
    ...(cert === undefined || key === undefined
      ? {}
      : { cert: readPemFile(cert), key: readPemFile(key) }),
  };
}

/** @throws {InputError} */
function createClient(options: Deno.CreateHttpClientOptions): Deno.HttpClient {
  try {
    return Deno.createHttpClient(options);
  } catch (error) {
    throw new InputError(
      `the certificates for --post cannot be used: ${reason(error)}`,
      EXIT.badData,
    );
  }
}

/** A client looks at the environment when it is made. */
export function withoutProxies<T>(make: () => T): T {
  const saved = PROXY_VARIABLES.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of PROXY_VARIABLES) Deno.env.delete(name);
  try {
    return make();
  } finally {
    for (const [name, value] of saved) if (value !== undefined) Deno.env.set(name, value);
  }
}
