/**
 * `new_task --http`: takes tasks over HTTP, for programs that speak no AMQP, and tells what became
 * of them. One connection to the broker, however many ask.
 */
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import type { Connector } from "../../amqp/connection.ts";
import type { QueuePolicy } from "../../amqp/declare.ts";
import { ClientGone, readBody, Room } from "../../observe/body.ts";
import { Gate } from "../../observe/gate.ts";
import {
  type HttpLimits,
  type HttpServer,
  type IncomingMessage,
  type ListenAddress,
  pathAndQuery,
  serveHttp,
  type ServerResponse,
} from "../../observe/http.ts";
import type { Logger } from "../../observe/log.ts";
import { jsonReply, type Reply, sendReply } from "../../observe/reply.ts";
import { Problem, PROBLEM_TYPE, problemBody } from "../../observe/problem.ts";
import { ANSWER_HEADER, readAnswer } from "../../task/answer.ts";
import { formatDuration } from "../../task/duration.ts";
import { deadline } from "../../time/deadline.ts";
import { Sender } from "../sender.ts";
import { BrokerWatch } from "./broker_watch.ts";
import { corsHeaders, preflightHeaders } from "./cors.ts";
import { Intake, problemOf, unavailable } from "./intake.ts";
import type { KnownTask } from "./known_task.ts";
import { Ledger } from "./ledger.ts";
import { openApi } from "./openapi.ts";
import { readOrder, readOrderHead } from "./order.ts";
import { FrontNumbers } from "./numbers.ts";
import { readWait } from "./prefer.ts";

export interface ServiceOptions {
  readonly connector: Connector;
  /** At least one; the first is for tasks that name none. */
  readonly queues: readonly QueuePolicy[];
  readonly address: ListenAddress;
  /** How long a task may take to its confirm, in milliseconds. */
  readonly timeoutMs: number;
  /** How long a task is known after its end, in milliseconds. */
  readonly answersTtlMs: number;
  /** Of one request. */
  readonly maxBodyBytes: number;
  /** The tokens that hold at this moment; absent: nobody needs one. */
  readonly tokens?: (() => readonly string[]) | undefined;
  /** Other sites whose pages may ask. */
  readonly origins: readonly string[];
  readonly version: string;
  readonly log: Logger;
}

const LIMITS: HttpLimits = {
  connections: 1_000,
  unanswered: 64,
  headersMs: 10_000,
  requestMs: 60_000,
  idleMs: 60_000,
  silenceMs: 30_000,
};

/** Clients that have begun a request may take so long to end it when this ends. */
const DRAIN_MS = 20_000;

/** On their way at a time. */
const MOST = { tasks: 10_000, bytes: 64 * 1024 * 1024 };
/** Memory for what is known of tasks. */
const MOST_KNOWN_BYTES = 64 * 1024 * 1024;

/** What is at a path, by method. */
type Methods = Readonly<
  Record<
    string,
    (
      request: IncomingMessage,
      response: ServerResponse,
      at: RequestTarget,
    ) => Reply | Promise<Reply>
  >
>;

interface RequestTarget {
  /** Behind the path, decoded. */
  readonly rest: string;
  readonly query: URLSearchParams;
}

/** Whom an orchestrator's probes and everybody's tools may ask without a token. */
const OPEN: ReadonlySet<string> = new Set(["/livez", "/readyz", "/openapi.json"]);

export class HttpService implements AsyncDisposable {
  readonly #options: ServiceOptions;
  readonly #gate: Gate;
  readonly #sender: Sender;
  readonly #watch: BrokerWatch;
  readonly #ledger: Ledger;
  readonly #intake: Intake;
  readonly #room = new Room(MOST.bytes);
  readonly #numbers = new FrontNumbers();
  readonly #draining = new AbortController();
  readonly #pages: Readonly<Record<string, Methods>>;
  #server: HttpServer | undefined;

  constructor(options: ServiceOptions) {
    const { connector, timeoutMs, queues, log, answersTtlMs } = options;
    this.#options = options;
    this.#gate = new Gate(options);
    this.#sender = new Sender({
      connector,
      timeoutMs,
      most: MOST,
      onAnswer: (message) => this.#hear(message),
    });
    this.#watch = new BrokerWatch(this.#sender, log);
    this.#ledger = new Ledger(answersTtlMs, MOST_KNOWN_BYTES);
    this.#intake = new Intake({
      sender: this.#sender,
      queues,
      ledger: this.#ledger,
      most: MOST.tasks,
      connection: () => this.#watch.lost,
      onConfirmed: (ms) => this.#numbers.confirmed(ms),
    });
    this.#pages = this.#routes();
  }

  /**
   * Connects, and listens. A broker that is away is waited for while requests are answered.
   *
   * @returns where it listens
   * @throws {ToolError} it cannot listen there; or the broker refuses the login or a queue
   */
  async start(): Promise<string> {
    const { address, queues, timeoutMs } = this.#options;
    await this.#watch.start(async () => {
      for (const queue of queues) await this.#sender.prepare(queue);
    }, timeoutMs);
    this.#server = await serveHttp(address, (...both) => this.#answer(...both), LIMITS);
    return this.#server.url;
  }

  /** Takes no more requests; resolves when those under way are answered, or not in time. */
  async drain(): Promise<void> {
    this.#draining.abort();
    await deadline(this.#server?.drain() ?? Promise.resolve(), DRAIN_MS, () => new Error("late"))
      .catch(() => this.#options.log.warn("some requests were not answered before the end"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining.abort();
    this.#watch.stop();
    await this.#server?.[Symbol.asyncDispose]();
    const closing = this.#sender.close();
    // Tasks whose clients have gone are sent all the same, but not for ever.
    await deadline(closing, DRAIN_MS, () => new Error("late")).catch(() => this.#sender.abandon());
    await closing;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on("error", () => {}); // it is told as the end of the request
    response.on("error", () => {}); // the client has gone
    let reply: Reply;
    try {
      reply = await this.#reply(request, response);
    } catch (error) {
      if (error instanceof ClientGone) return;
      reply = this.#refusal(error);
    }
    this.#numbers.answered(reply.status);
    const headers = { ...reply.headers, ...corsHeaders(this.#gate, request) };
    sendReply(request, response, { ...reply, headers }, this.#draining.signal.aborted);
  }

  /** A worker has said something of a task. */
  #hear({ properties, body }: AMQPMessage): void {
    const named = properties.headers?.[ANSWER_HEADER.id];
    const task = typeof named === "string"
      ? this.#ledger.get(named)
      : this.#ledger.correlated(properties.correlationId ?? "");
    if (task === undefined || !task.isAwaited) return;
    const bytes = body ?? new Uint8Array();
    const heard = readAnswer(task.id, bytes, properties);
    if ("progress" in heard) return task.progress(heard.progress);
    task.answer(heard.last);
    this.#ledger.grow(task, 2 * bytes.length);
  }

  #refusal(error: unknown): Reply {
    if (error instanceof Problem) {
      const { status, headers } = error;
      return { status, headers, type: PROBLEM_TYPE, body: problemBody(error) };
    }
    const fault = error instanceof Error ? error.stack ?? error.message : String(error);
    this.#options.log.error(`a fault in this program, please report it: ${fault}`);
    return this.#refusal(new Problem(500, "a fault in this program; its log says more"));
  }

  #reply(request: IncomingMessage, response: ServerResponse): Reply | Promise<Reply> {
    this.#gate.requireHonest(request);
    const { path, query } = pathAndQuery(request.url!);
    const { method } = request as { method: string };
    if (method === "OPTIONS" && path === "*") return { status: 204 };
    const known = this.#find(path);
    if (known === undefined) {
      this.#gate.requireToken(request);
      const paths = Object.keys(this.#pages).map((name) => name.replace(/\/$/, "/ID"));
      throw new Problem(404, `the path must be one of ${paths.join(", ")}, and is another one`);
    }
    const { methods, name } = known;
    const allow = Object.keys(methods).flatMap((m) => m === "GET" ? [m, "HEAD"] : [m]);
    const allowed = [...allow, "OPTIONS"].join(", ");
    if (method === "OPTIONS") {
      const headers = { allow: allowed, ...preflightHeaders(this.#gate, request, allowed) };
      return { status: 204, headers };
    }
    if (!OPEN.has(name)) this.#gate.requireToken(request);
    const respond = methods[method === "HEAD" ? "GET" : method];
    if (respond === undefined) {
      const state = `is ${method.slice(0, 20)}`;
      throw new Problem(405, `the method must be one of ${allowed}, and ${state}`, {
        allow: allowed,
      });
    }
    return respond(request, response, { rest: decodedId(path.slice(name.length)), query });
  }

  #find(path: string): { name: string; methods: Methods } | undefined {
    if (Object.hasOwn(this.#pages, path) && !path.endsWith("/")) {
      return { name: path, methods: this.#pages[path]! };
    }
    const name = "/tasks/";
    if (!path.startsWith(name) || path === name) return undefined;
    return { name, methods: this.#pages[name]! };
  }

  #routes(): Record<string, Methods> {
    const text = (status: number, body: string) => ({
      status,
      type: "text/plain; charset=utf-8",
      body: `${body}\n`,
    });
    return {
      "/tasks": {
        POST: (request, response, { query }) => this.#post(request, response, query),
      },
      "/tasks/": { GET: (request, response, { rest }) => this.#show(request, response, rest) },
      "/livez": { GET: () => text(200, "alive") },
      "/readyz": {
        GET: () => {
          if (this.#draining.signal.aborted) return text(503, "ends");
          const trouble = this.#watch.trouble;
          return trouble === undefined ? text(200, "ready") : text(503, trouble.why);
        },
      },
      "/metrics": {
        GET: () =>
          this.#numbers.page({
            connected: this.#watch.trouble === undefined,
            connectionsLost: this.#watch.lost,
            underWay: this.#sender.tasks,
            known: this.#ledger.size,
            knownBytes: this.#ledger.bytes,
          }),
      },
      "/openapi.json": {
        GET: () => jsonReply(200, openApi(this.#options)),
      },
    };
  }

  async #post(
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
  ): Promise<Reply> {
    const { maxBodyBytes } = this.#options;
    const wait = readWait(request.headers.prefer);
    const head = readOrderHead(request, query);
    const named = head.given.get("queue");
    if (typeof named === "string" && named !== "") this.#intake.requireServed(named);
    this.#requireBroker();
    const body = await readBody(request, response, maxBodyBytes, this.#room);
    let tasks: KnownTask[];
    let isMany: boolean;
    try {
      const now = Date.now();
      const order = readOrder(head, body.bytes, now, MOST.tasks);
      isMany = order.isMany;
      tasks = await this.#intake.take(order, now);
    } catch (error) {
      throw problemOf(error);
    } finally {
      body.release();
    }
    await this.#waitFor(tasks, wait, response);
    const ended = tasks.every(({ state }) => state === "done" || state === "dead");
    const applied: Record<string, string> = wait > 0
      ? { "preference-applied": `wait=${wait}` }
      : {};
    const status = wait > 0 && ended ? 200 : 202;
    if (isMany) {
      return jsonReply(status, { tasks: tasks.map((task) => task.describe()) }, applied);
    }
    const [task] = tasks as [KnownTask];
    return jsonReply(status, task.describe(), { location: pathOf(task), ...applied });
  }

  /** @throws {Problem} 503: it has been away for longer than a task may wait */
  #requireBroker(): void {
    if (this.#draining.signal.aborted) throw unavailable("this server ends");
    const trouble = this.#watch.trouble;
    if (trouble === undefined || trouble.forMs < this.#options.timeoutMs) return;
    throw unavailable(
      `no task can be sent, for ${formatDuration(trouble.forMs)} now: ${trouble.why}`,
    );
  }

  async #show(request: IncomingMessage, response: ServerResponse, id: string): Promise<Reply> {
    const task = this.#ledger.get(id);
    if (task === undefined) {
      throw new Problem(404, "the task is not known here, or not any more");
    }
    try {
      await task.confirmed;
    } catch (error) {
      throw problemOf(error);
    }
    const wait = readWait(request.headers.prefer);
    await this.#waitFor([task], wait, response);
    return jsonReply(
      200,
      task.describe(),
      wait > 0 ? { "preference-applied": `wait=${wait}` } : {},
    );
  }

  /** Waits until the tasks have ended, the time is over, the client has gone or this server ends. */
  async #waitFor(
    tasks: readonly KnownTask[],
    seconds: number,
    client: ServerResponse,
  ): Promise<void> {
    if (seconds === 0 || this.#draining.signal.aborted) return;
    const over = Promise.withResolvers<void>();
    const timer = setTimeout(over.resolve, seconds * 1_000);
    const end = () => over.resolve();
    this.#draining.signal.addEventListener("abort", end);
    client.once("close", end);
    await Promise.race([Promise.all(tasks.map(({ ended }) => ended)), over.promise]);
    clearTimeout(timer);
    client.off("close", end);
    this.#draining.signal.removeEventListener("abort", end);
  }
}

/** Where a task is told of. */
function pathOf({ id }: { readonly id: string }): string {
  return `/tasks/${encodeURIComponent(id)}`;
}

/** @throws {Problem} 400 */
function decodedId(rest: string): string {
  try {
    return decodeURIComponent(rest);
  } catch {
    throw new Problem(400, "an id in a path must be percent-encoded UTF-8, and is not");
  }
}
