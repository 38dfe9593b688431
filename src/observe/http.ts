/**
 * The HTTP server under every page and API of the tools: node:http, which closes connections that
 * are slow or idle, bounded in number here. Deno.serve closes none by itself, and clients that keep
 * theirs would take all file descriptors of the program. Under Deno before 2.9 node:http stands on
 * Deno.serve, and has none of these limits.
 *
 * node:http is loaded by the first server that is asked for.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { deadline } from "../time/deadline.ts";
import { listenError } from "./listen_error.ts";
import { Listening } from "./listening.ts";
import { Problem, PROBLEM_TYPE, problemBody } from "./problem.ts";

export type { IncomingMessage, ServerResponse };

/**
 * Answers one request; called when its headers are there. Must not throw. Whoever reads a body for
 * which `Expect: 100-continue` asks calls `writeContinue` before.
 */
type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** Where to listen. */
export interface ListenAddress {
  readonly hostname: string;
  /** Instead of it, on a machine that has no such address. */
  readonly otherwise?: string;
  /** 0 for a free one. */
  readonly port: number;
}

export interface HttpLimits {
  /**
   * At the same time. One more takes the place of the oldest that asks for nothing, or else of the
   * oldest whose request is not here as a whole.
   */
  readonly connections: number;
  /** Requests of one connection that wait for their answers: with one more it is closed. */
  readonly unanswered: number;
  /** From the beginning of a connection, or of a request, to the end of its headers; in ms. */
  readonly headersMs: number;
  /** From the beginning of a request to the end of its body; in ms. */
  readonly requestMs: number;
  /** Between two requests on one connection; in ms. */
  readonly idleMs: number;
  /** Without a connection for so long, the server tries whether it still takes any; in ms. */
  readonly silenceMs: number;
}

export interface HttpServer extends AsyncDisposable {
  /** Where it listens: "http://127.0.0.1:9100". */
  readonly url: string;
  /** Takes no more connections; resolves when every request that has come is answered. */
  drain(): Promise<void>;
}

/** Request line and headers. */
const MOST_HEAD_BYTES = 16 * 1024;
/** How often connections are looked at for being slow, in milliseconds. */
const CHECK_MS = 1_000;
/** How long the end of all connections may take, in milliseconds. */
const CLOSED_MS = 2_000;

const PAGE_LIMITS: HttpLimits = {
  connections: 32,
  unanswered: 8,
  headersMs: 5_000,
  requestMs: 10_000,
  idleMs: 5_000,
  silenceMs: 10_000,
};

/** What an address that is not this machine's is called; EINVAL since Deno 2.9. */
const NOT_HERE = ["EADDRNOTAVAIL", "EINVAL"];

async function listen(
  { hostname, otherwise, port }: ListenAddress,
  make: () => Server,
  silenceMs: number,
): Promise<Listening> {
  try {
    return await Listening.open(make, { hostname, port }, silenceMs);
  } catch (error) {
    const isElsewhere = NOT_HERE.includes((error as { code?: string }).code ?? "");
    if (!isElsewhere || otherwise === undefined) throw listenError(hostname, port, error);
    return await listen({ hostname: otherwise, port }, make, silenceMs);
  }
}

/**
 * Listens until disposed of; then connections are closed, whatever goes on on them.
 *
 * @throws {ToolError} it cannot listen there
 */
export async function serveHttp(
  address: ListenAddress,
  respond: Respond,
  limits: HttpLimits,
): Promise<HttpServer> {
  const { createServer } = await import("node:http");
  const connections = new Connections(limits);
  const respondToNamed: Respond = (request, response) => {
    if (request.headers.host !== undefined || request.httpVersionMinor === 0) {
      return respond(request, response);
    }
    refuse(response, new Problem(400, "a request must have a Host header, and has none"));
  };
  const make = () => {
    const server = createServer({
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MOST_HEAD_BYTES,
      // Its own refusals have no words.
      requireHostHeader: false,
    });
    connections.watch(server);
    server.on("request", respondToNamed);
    server.on("checkContinue", respondToNamed);
    server.on("checkExpectation", (_request, response: ServerResponse) => {
      refuse(response, new Problem(417, "Expect must be 100-continue, and is something else"));
    });
    server.on("clientError", (error: Error, socket: Socket) => {
      // What is said now would be taken for the answer to the request before.
      if (!connections.endAnswered(socket)) refuseNoRequest(error, socket);
    });
    return server;
  };
  const listening = await listen(address, make, limits.silenceMs);
  const { bound } = listening;
  let closed: Promise<void> | undefined;
  // Once: Deno 2.4 never says of a closed server that it is closed.
  const closeOnce = () =>
    closed ??= new Promise<void>((resolve) => listening.stop().close(() => resolve()))
      .catch(() => {}); // Deno 2.4 has none to close where descriptors were short
  const host = bound.address.includes(":") ? `[${bound.address}]` : bound.address;
  return {
    url: `http://${host}:${bound.port}`,
    drain() {
      const ended = closeOnce();
      connections.drain();
      return Promise.race([ended, connections.answered]);
    },
    [Symbol.asyncDispose]() {
      const ended = closeOnce();
      listening.stop().closeAllConnections();
      // Deno 2.4 leaves the connections of a server alone that is closed already.
      return deadline(ended, CLOSED_MS, () => new Error("late")).catch(() => {});
    },
  };
}

/** The connections of a server, bounded in number. */
class Connections {
  readonly #limits: HttpLimits;
  /** Oldest first, with the requests that are being answered. */
  readonly #open = new Map<Socket, Set<IncomingMessage>>();
  /** They end with the answers that they wait for. */
  readonly #ending = new WeakSet<Socket>();
  /** What is not answered on connections that nobody was told of, as before Deno 2.9. */
  #untold: Set<ServerResponse> | undefined;
  readonly #answered = Promise.withResolvers<void>();
  #isDraining = false;

  constructor(limits: HttpLimits) {
    this.#limits = limits;
  }

  /** Those of this server are among them. */
  watch(server: Server): void {
    server.on("connection", (socket) => {
      this.#open.set(socket, new Set());
      socket.once("close", () => this.#open.delete(socket));
      if (this.#open.size > this.#limits.connections) this.#dispensable().destroy();
    });
    server.on("request", (...both) => this.#note(...both));
    server.on("checkContinue", (...both) => this.#note(...both));
  }

  /**
   * Resolves when all is answered on connections that nobody was told of, once they are drained: of
   * those that had several requests Deno 2.4 never says that they are closed.
   */
  get answered(): Promise<void> {
    return this.#answered.promise;
  }

  /** Closes those that ask for nothing, now and once they are answered. */
  drain(): void {
    this.#isDraining = true;
    if (this.#untold?.size === 0) this.#answered.resolve();
    for (const [socket, requests] of this.#open) if (requests.size === 0) socket.destroy();
  }

  /**
   * Closes a connection when the requests that have come on it as a whole are answered.
   *
   * @returns false: there are none, or its client has gone
   */
  endAnswered(socket: Socket): boolean {
    if (!socket.writable || !isAnswering(this.#open.get(socket))) return false;
    this.#ending.add(socket);
    return true;
  }

  #note(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const requests = this.#open.get(socket);
    if (requests === undefined) return this.#noteUntold(response);
    if (requests.size === this.#limits.unanswered) {
      socket.destroy();
      // The parser would go on with all that has come, which may be thousands: it only stops at errors.
      throw new Error("too many requests of one connection wait for their answers");
    }
    requests.add(request);
    response.once("close", () => {
      requests.delete(request);
      const isOver = this.#ending.has(socket)
        ? !isAnswering(requests)
        : this.#isDraining && requests.size === 0;
      if (isOver) socket.destroySoon();
    });
  }

  #noteUntold(response: ServerResponse): void {
    const untold = this.#untold ??= new Set();
    untold.add(response);
    const over = () => {
      untold.delete(response);
      if (this.#isDraining && untold.size === 0) this.#answered.resolve();
    };
    response.once("finish", over);
    response.once("close", over);
  }

  /** The one that others would miss least; the newest, when all wait for their answers. */
  #dispensable(): Socket {
    let newest: Socket | undefined;
    let slow: Socket | undefined;
    for (const [socket, requests] of this.#open) {
      const isIdle = requests.size === 0;
      if (isIdle && newest !== undefined) return newest;
      if (isIdle) newest = socket;
      else if (slow === undefined && [...requests].every(({ complete }) => !complete)) {
        slow = socket;
      }
    }
    // The newest one asks for nothing yet, either.
    return slow ?? newest!;
  }
}

function isAnswering(requests: ReadonlySet<IncomingMessage> = new Set()): boolean {
  return [...requests].some(({ complete }) => complete);
}

function refuse(response: ServerResponse, problem: Problem): void {
  const body = problemBody(problem);
  response.writeHead(problem.status, {
    "content-type": PROBLEM_TYPE,
    "content-length": body.length,
    "connection": "close",
  });
  response.end(body);
}

/** What came is no request, or has taken too long. */
function refuseNoRequest(error: Error & { code?: string }, socket: Socket): void {
  const [status, sentence] = error.code === "HPE_HEADER_OVERFLOW"
    ? ["431 Request Header Fields Too Large", "the headers are too long"]
    : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? ["408 Request Timeout", "the request took too long"]
    : ["400 Bad Request", "this is no HTTP/1.1 request"];
  if (!socket.writable) return void socket.destroy();
  const body = problemBody(new Problem(Number(status.slice(0, 3)), sentence));
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${body.length}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
}

/** What is at a path. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** By their paths. */
export type Pages = Readonly<Record<string, () => Page>>;

/**
 * Serves pages until disposed of, to GET and HEAD: to an orchestrator, Prometheus, curl. Paths are
 * looked up as they are, without their query.
 *
 * @throws {ToolError} it cannot listen there
 */
export function servePages(address: ListenAddress, pages: Pages): Promise<HttpServer> {
  return serveHttp(address, ({ method, url }, response) => {
    const { status, type, body } = pageAt(method, url, pages);
    response.writeHead(status, {
      "content-type": type,
      "content-length": new TextEncoder().encode(body).length,
      "cache-control": "no-store",
      "connection": "close",
      ...(status === 405 ? { allow: "GET, HEAD" } : {}),
    });
    response.end(method === "HEAD" ? undefined : body);
  }, PAGE_LIMITS);
}

function pageAt(method: string | undefined, url: string | undefined, pages: Pages): Page {
  if (method !== "GET" && method !== "HEAD") return refusal(405, "only GET is answered");
  const [path] = url!.split(/[?#]/, 1);
  if (Object.hasOwn(pages, path!)) return pages[path!]!();
  return refusal(404, `there is only ${Object.keys(pages).join(", ")}`);
}

function refusal(status: number, sentence: string): Page {
  return { status, type: "text/plain; charset=utf-8", body: `${sentence}\n` };
}

/**
 * What a request asks for, without host, as a proxy writes it, and without what is behind "#".
 *
 * @throws {Problem} 400: what is no UTF-8 would come to stand for something else
 */
export function pathAndQuery(url: string): { path: string; query: URLSearchParams } {
  const [bare] = url.replace(/^https?:\/\/[^/?#]*/i, "").split("#", 1) as [string];
  const mark = bare.indexOf("?");
  if (mark === -1) return { path: bare, query: new URLSearchParams() };
  const query = bare.slice(mark + 1);
  if (!isDecodable(query)) {
    throw new Problem(400, "the query must be percent-encoded UTF-8, and is not");
  }
  return { path: bare.slice(0, mark), query: new URLSearchParams(query) };
}

function isDecodable(query: string): boolean {
  try {
    decodeURIComponent(query);
    return true;
  } catch {
    return false;
  }
}
