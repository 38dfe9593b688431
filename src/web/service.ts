/** The page of a broker, its API and its numbers, over HTTP. */
import { ClientGone, readBody, Room } from "../observe/body.ts";
import { Gate } from "../observe/gate.ts";
import {
  type HttpLimits,
  type HttpServer,
  type IncomingMessage,
  type ListenAddress,
  pathAndQuery,
  serveHttp,
  type ServerResponse,
} from "../observe/http.ts";
import type { Logger } from "../observe/log.ts";
import { METRICS_TYPE } from "../observe/metrics.ts";
import { Problem, PROBLEM_TYPE, problemBody } from "../observe/problem.ts";
import { jsonReply, type Reply, sendReply } from "../observe/reply.ts";
import { TaskError, UsageError } from "../errors.ts";
import { type Asset, Assets } from "./assets.ts";
import { Events } from "./events.ts";
import { Gzip } from "./gzip.ts";
import { openApi } from "./openapi.ts";
import { Looks } from "./looks.ts";
import { requireFewValues } from "./json_values.ts";
import { turns } from "./pieces.ts";
import { type Asked, Encoded, type Route, ROUTES } from "./routes.ts";
import type { Source } from "./source.ts";

export interface PageOptions {
  readonly source: Source;
  readonly address: ListenAddress;
  /** The tokens that hold at this moment; absent: nobody needs one. */
  readonly tokens?: (() => readonly string[]) | undefined;
  readonly version: string;
  readonly log: Logger;
}

const LIMITS: HttpLimits = {
  connections: 500,
  unanswered: 8,
  headersMs: 10_000,
  requestMs: 60_000,
  idleMs: 30_000,
  silenceMs: 30_000,
};

/** Of one request; and memory for all bodies together. */
const MOST_BODY_BYTES = 2 * 1024 * 1024;
const MOST_BODIES_BYTES = 16 * 1024 * 1024;

/** Requests that are being answered, those included whose clients have gone meanwhile. */
const MOST_ANSWERED = 512;

/** In front of every path of the API. */
const API = "/api/v1";

const STATUS: Readonly<Record<string, number>> = {
  missing: 404,
  invalid: 400,
  conflict: 409,
  unavailable: 503,
};

export class PageService implements AsyncDisposable {
  readonly #options: PageOptions;
  readonly #gate: Gate;
  readonly #looks: Looks;
  readonly #events: Events;
  readonly #room = new Room(MOST_BODIES_BYTES);
  readonly #assets: Assets;
  #gzip: Gzip | undefined;
  #answered = 0;
  /** What the API can do, as it tells it. */
  #description: Reply | undefined;
  #server: HttpServer | undefined;
  #ending = false;

  /** @param assets files of the page by their paths; "/" is the page */
  constructor(options: PageOptions, assets: Readonly<Record<string, Asset>>) {
    this.#options = options;
    this.#gate = new Gate({ tokens: options.tokens });
    this.#looks = new Looks(options.source);
    this.#events = new Events(options.source, this.#looks, () => this.#gzip!);
    this.#assets = new Assets(assets, () => this.#gzip!);
  }

  /** @returns where it listens @throws {ToolError} */
  async start(): Promise<string> {
    const { address } = this.#options;
    this.#gzip = await Gzip.load();
    this.#server = await serveHttp(address, (...both) => this.#answer(...both), LIMITS);
    return this.#server.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    this.#events.end();
    await this.#server?.[Symbol.asyncDispose]();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on("error", () => {}); // it is told as the end of the request
    response.on("error", () => {}); // the client has gone
    let reply: Reply | undefined;
    this.#answered++;
    try {
      if (this.#answered > MOST_ANSWERED) throw tooMany();
      reply = await this.#reply(request, response);
    } catch (error) {
      if (error instanceof ClientGone) return;
      reply = this.#refusal(error);
    } finally {
      this.#answered--;
    }
    if (reply === undefined) return;
    const headers = { ...GUARDS, ...reply.headers };
    sendReply(request, response, { ...reply, headers }, this.#ending);
  }

  #refusal(error: unknown): Reply {
    if (error instanceof Problem) {
      const { status, headers } = error;
      return { status, headers, type: PROBLEM_TYPE, body: problemBody(error) };
    }
    const kind = (error as { kind?: unknown }).kind;
    if (error instanceof Error && typeof kind === "string" && Object.hasOwn(STATUS, kind)) {
      return this.#refusal(new Problem(STATUS[kind]!, error.message));
    }
    if (error instanceof UsageError || error instanceof TaskError) {
      return this.#refusal(new Problem(422, error.message));
    }
    const fault = error instanceof Error ? error.stack ?? error.message : String(error);
    this.#options.log.error("a fault in this program, please report it", { error: fault });
    return this.#refusal(new Problem(500, "a fault in this program; its log says more"));
  }

  /** @returns undefined: it is answered already */
  #reply(
    request: IncomingMessage,
    response: ServerResponse,
  ): Reply | undefined | Promise<Reply | undefined> {
    this.#gate.requireHonest(request);
    const { path, query } = pathAndQuery(request.url!);
    const requireGet = () => {
      if (request.method !== "GET" && request.method !== "HEAD") throw notAllowed("GET, HEAD");
    };
    if (this.#assets.has(path)) {
      requireGet();
      return this.#assets.reply(path, request);
    }
    if (path === "/livez") {
      requireGet();
      return text("alive");
    }
    this.#gate.requireToken(request);
    if (path === "/metrics" && this.#options.source.metrics !== undefined) {
      requireGet();
      return this.#metrics();
    }
    if (path === `${API}/openapi.json`) {
      requireGet();
      return this.#description ??= this.#describe();
    }
    if (path === `${API}/events`) {
      if (request.method !== "GET") throw notAllowed("GET");
      this.#events.listen(request, response);
      return undefined;
    }
    return this.#call(request, response, path, query);
  }

  #describe(): Reply {
    const { source, version, tokens } = this.#options;
    const { body, ...reply } = jsonReply(200, openApi(source, API, version, tokens !== undefined));
    return { ...reply, body: [new TextEncoder().encode(body as string)] };
  }

  async #metrics(): Promise<Reply> {
    return { status: 200, type: METRICS_TYPE, body: await this.#looks.metrics() };
  }

  async #call(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: URLSearchParams,
  ): Promise<Reply> {
    const matches = ROUTES.flatMap((route) => {
      const values = path.startsWith(API)
        ? matchPath(route.path, path.slice(API.length))
        : undefined;
      const answer = route.answer(this.#options.source);
      return values === undefined || answer === undefined ? [] : [{ route, values, answer }];
    });
    if (matches.length === 0) {
      throw new Problem(404, `there is nothing here; ${API}/openapi.json tells what there is`);
    }
    const method = request.method === "HEAD" ? "GET" : request.method;
    const match = matches.find(({ route }) => route.method === method);
    if (match === undefined) throw notAllowed(matches.map(({ route }) => route.method).join(", "));
    const { route, values, answer } = match;
    const asked = { path: values, query, looks: this.#looks };
    if (!route.takes) {
      await turns.next();
      if (response.destroyed) throw new ClientGone();
      return this.#respond(route, answer, { ...asked, body: undefined });
    }
    const type = /^[^;\s]*/.exec(request.headers["content-type"] ?? "")![0].toLowerCase();
    if (type !== "application/json") {
      throw new Problem(415, `the content type must be application/json, and is ${type || "none"}`);
    }
    const body = await readBody(request, response, MOST_BODY_BYTES, this.#room);
    try {
      await turns.next();
      if (response.destroyed) throw new ClientGone();
      requireFewValues(body.bytes);
      return await this.#respond(route, answer, { ...asked, body: body.bytes });
    } finally {
      body.release();
    }
  }

  async #respond(
    { gives, method }: Route,
    answer: (asked: Asked) => unknown,
    asked: Asked,
  ): Promise<Reply> {
    const value = await answer(asked);
    // Whoever asks next, or is asked, sees what was done.
    if (method !== "GET") await this.#events.tell();
    if (gives === undefined) return { status: 204 };
    return value instanceof Encoded
      ? { status: 200, type: "application/json", body: value.parts }
      : jsonReply(200, value);
  }
}

/** Of every answer. */
const GUARDS = {
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "x-frame-options": "DENY",
};

function notAllowed(allow: string): Problem {
  return new Problem(405, `the method must be one of ${allow}, and is another one`, { allow });
}

function tooMany(): Problem {
  return new Problem(503, `at most ${MOST_ANSWERED} requests are answered at a time`, {
    "retry-after": "1",
  });
}

function text(body: string): Reply {
  return { status: 200, type: "text/plain; charset=utf-8", body: `${body}\n` };
}

/** The values of a path's parts, or undefined when it is another path. @throws {Problem} 400 */
function matchPath(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  if (wanted.length !== given.length) return undefined;
  const values: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined && part !== given[index]) return undefined;
    if (name !== undefined) values[name] = decoded(given[index]!);
  }
  return values;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part.replace(/^(\.\.?);$/, "$1"));
  } catch {
    throw new Problem(400, "the path must be percent-encoded UTF-8, and is not");
  }
}
