/** A broker with its page, and the page's API as tests ask it. */
import type { ActionResult, MessageInfo, Overview, QueueDetail } from "../../src/observe/board.ts";
import { queuePath } from "../../src/web/client/api.ts";
import { type EmbeddedBroker, startBroker } from "../support/embedded.ts";
import { freePorts } from "../support/ports.ts";

export interface Answer<T> {
  readonly status: number;
  readonly type: string | null;
  readonly body: T;
}

export class Paged implements AsyncDisposable {
  readonly broker: EmbeddedBroker;
  /** Of the page. */
  readonly url: string;

  private constructor(broker: EmbeddedBroker, port: number) {
    this.broker = broker;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(...args: string[]): Promise<Paged> {
    const [port] = await freePorts(1);
    return new Paged(await startBroker({ args: ["--http", `${port}`, ...args] }), port!);
  }

  async ask<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const type = response.headers.get("content-type");
    const isJson = type !== null && /json/.test(type);
    return { status: response.status, type, body: (isJson ? JSON.parse(text) : text) as T };
  }

  /** What is at a path of the API. @throws {Error} the answer is an error */
  async get<T>(path: string): Promise<T> {
    return await this.#done<T>("GET", path);
  }

  async post<T = ActionResult>(path: string, body: unknown = {}): Promise<T> {
    return await this.#done<T>("POST", path, body);
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return await this.#done<T>("PUT", path, body);
  }

  async #done<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.ask<T>(method, `/api/v1${path}`, body);
    if (answer.status < 300) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  overview(): Promise<Overview> {
    return this.get("/overview");
  }

  queue(name: string): Promise<QueueDetail> {
    return this.get(at(name));
  }

  /** The messages of a queue, in the order in which they are served. */
  async messages(name: string, query = "limit=200"): Promise<readonly MessageInfo[]> {
    const page = await this.get<{ messages: MessageInfo[] }>(`${at(name)}/messages?${query}`);
    return page.messages;
  }

  async send(queue: string, ...records: object[]): Promise<void> {
    for (const record of records) await this.post(`${at(queue)}/messages`, record);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker[Symbol.asyncDispose]();
  }
}

/** The path of a queue in the API. */
export function at(queue: string): string {
  return queuePath({ vhost: "/", name: queue });
}
