/**
 * A small HTTP/1.1 server for whoever watches a program: an orchestrator, Prometheus, curl. One
 * request a connection, bounded in number, size and time: Deno.serve closes no connection by
 * itself, and clients that keep theirs would take all file descriptors of the program.
 */

/** What is at a path. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** By their paths. */
export type Pages = Readonly<Record<string, () => Page>>;

/** Connections at the same time; the oldest makes room for a new one. */
const MOST_CONNECTIONS = 32;
/** From the first byte to the last one, in milliseconds. */
const CONNECTION_MS = 10_000;
/** Request line and headers. */
const MOST_HEAD_BYTES = 16 * 1024;
/** When no connection can be taken (no file descriptor is left), in milliseconds. */
const PAUSE_MS = 100;

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  503: "Service Unavailable",
};

/** Where to listen. */
export interface ListenAddress {
  readonly hostname: string;
  /** 0 for a free one. */
  readonly port: number;
}

export interface PageServer extends Disposable {
  /** Where it listens: "http://127.0.0.1:9100". */
  readonly url: string;
}

/**
 * Serves pages until disposed, to GET and HEAD. Paths are looked up as they are, without their
 * query.
 *
 * @throws {Deno.errors.AddrInUse | Deno.errors.PermissionDenied | Error} it cannot listen there
 */
export function servePages({ hostname, port }: ListenAddress, pages: Pages): PageServer {
  const listener = Deno.listen({ hostname, port });
  /** Oldest first. */
  const open = new Set<Deno.TcpConn>();
  const closed = new AbortController();
  acceptAll(listener, open, pages, closed.signal);
  const { addr } = listener;
  const host = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  return {
    url: `http://${host}:${addr.port}`,
    [Symbol.dispose]() {
      closed.abort();
      listener.close();
      for (const conn of open) closeQuietly(conn);
    },
  };
}

async function acceptAll(
  listener: Deno.TcpListener,
  open: Set<Deno.TcpConn>,
  pages: Pages,
  closed: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      const conn = await listener.accept();
      open.add(conn);
      serve(conn, pages).finally(() => open.delete(conn));
      if (open.size > MOST_CONNECTIONS) {
        const [oldest] = open;
        open.delete(oldest!);
        closeQuietly(oldest!);
      }
    } catch {
      if (closed.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** Never rejects: whoever asked may leave at any moment. */
async function serve(conn: Deno.TcpConn, pages: Pages): Promise<void> {
  const timer = setTimeout(() => closeQuietly(conn), CONNECTION_MS);
  try {
    const head = await readHead(conn);
    const bytes = new TextEncoder().encode(respond(head, pages));
    for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
    await conn.closeWrite();
    // Closing with something unread would take the answer back on its way.
    const rest = new Uint8Array(MOST_HEAD_BYTES);
    while (await conn.read(rest) !== null) { /* a body, or more requests */ }
  } catch {
    // It has left, or its time is over.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

/** The request up to the empty line; what is too long is cut, and no request any more. */
async function readHead(conn: Deno.TcpConn): Promise<string> {
  const bytes = new Uint8Array(MOST_HEAD_BYTES);
  for (let used = 0;;) {
    const text = new TextDecoder("latin1").decode(bytes.subarray(0, used));
    if (/\r?\n\r?\n/.test(text)) return text;
    const n = used === bytes.length ? null : await conn.read(bytes.subarray(used));
    if (n === null) return "";
    used += n;
  }
}

function respond(head: string, pages: Pages): string {
  const [, method, path] =
    /^([A-Z]+) (?:https?:\/\/[^/ ]*)?(\/[^ ?#]*)[^ ]* HTTP\/1\.[01]\r?\n/.exec(head) ?? [];
  const { status, type, body } = answer(method, path, pages);
  const { length } = new TextEncoder().encode(body);
  return [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    `content-type: ${type}`,
    `content-length: ${length}`,
    "cache-control: no-store",
    "connection: close",
    ...(status === 405 ? ["allow: GET, HEAD"] : []),
    "",
    method === "HEAD" ? "" : body,
  ].join("\r\n");
}

function answer(method: string | undefined, path: string | undefined, pages: Pages): Page {
  if (method === undefined || path === undefined) {
    return refusal(400, "this is no HTTP/1.1 request");
  }
  if (method !== "GET" && method !== "HEAD") return refusal(405, "only GET is answered");
  if (Object.hasOwn(pages, path)) return pages[path]!();
  return refusal(404, `there is only ${Object.keys(pages).join(", ")}`);
}

function refusal(status: number, sentence: string): Page {
  return { status, type: "text/plain; charset=utf-8", body: `${sentence}\n` };
}

function closeQuietly(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // It is closed already.
  }
}
