/** What the API of a broker's page says of queues: more than AMQP knows. */
import { ConnectionError, EXIT, reason, ToolError } from "../errors.ts";
import { readUpTo, withoutProxies } from "../handlers/http_client.ts";
import type { Overview, QueueInfo } from "../observe/board.ts";
import { formatDuration } from "../task/duration.ts";
import { roleOf } from "../task/topology.ts";
import type { QueueRow, QueueView } from "./queue_row.ts";

/** Milliseconds for an answer, and its longest body in bytes: 10,000 queues have 8 MB. */
const TIMEOUT_MS = 5_000;
const MOST_BYTES = 64 * 1024 * 1024;

/** Longest query with names in it; else all queues are asked for. */
const MOST_QUERY = 8_000;

const decoder = new TextDecoder();

export interface QueuePageOptions {
  /** Of the page: "http://127.0.0.1:9180". */
  readonly url: string;
  /** The bearer token of this moment. */
  readonly token?: (() => string) | undefined;
  /** Work queues; none: all that there are. */
  readonly names: readonly string[];
  readonly vhost: string;
}

export class QueuePage implements QueueView {
  readonly #options: QueuePageOptions;
  readonly #base: string;
  readonly #client = withoutProxies(() => Deno.createHttpClient({ http2: false }));
  readonly status = EXIT.ok;

  constructor(options: QueuePageOptions) {
    this.#options = options;
    this.#base = `${options.url.replace(/[?#].*/, "").replace(/\/$/, "")}/api/v1`;
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  /** Whether it is the page of that run of a broker. @throws {ToolError} */
  async isOf(instance: string): Promise<boolean> {
    return (await this.#ask("/overview") as Partial<Overview>).instance === instance;
  }

  /**
   * In the order in which the work queues were named, or else by name; what belongs to each is
   * behind it.
   *
   * @throws {ToolError} the page cannot be asked
   */
  async rows(): Promise<QueueRow[]> {
    const { names, vhost } = this.#options;
    // Somebody may name a dead or a delay queue itself.
    const families = new Set(names.map((name) => roleOf(name).of));
    const query = new URLSearchParams([["vhost", vhost], ...[...families].map((of) => ["of", of])]);
    const isShort = `${query}`.length <= MOST_QUERY;
    const asked = isShort ? query : new URLSearchParams({ vhost });
    const { queues } = await this.#ask(`/queues?${asked}`) as { queues?: readonly QueueInfo[] };
    if (!Array.isArray(queues)) throw this.#foreign();
    const known = new Map<string, QueueInfo>();
    for (const queue of queues) {
      if (queue?.vhost === vhost && queue.kind !== "start") known.set(queue.name, queue);
    }
    const groups = Map.groupBy(known.values(), ({ of }) => of);
    const wanted = names.length > 0 ? names : [...groups.keys()].sort();
    return wanted.flatMap((name) => {
      const own = known.get(name);
      const others = (groups.get(name) ?? []).filter((queue) => queue !== own).sort(inOrder);
      const missing = { name, state: "missing" as const };
      const first = own !== undefined ? [rowOf(own)] : names.length > 0 ? [missing] : [];
      return [...first, ...others.map(rowOf)];
    });
  }

  async #ask(path: string): Promise<unknown> {
    const { url, token } = this.#options;
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#base + path, {
        client: this.#client,
        redirect: "manual",
        headers: token === undefined ? {} : { authorization: `Bearer ${token()}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      text = await readText(response);
    } catch (error) {
      const why = error instanceof Error && error.name === "TimeoutError"
        ? `it must answer within ${formatDuration(TIMEOUT_MS)}, and does not`
        : reason(error);
      throw new ConnectionError(`cannot ask the page at ${url}: ${why}`, EXIT.temporary);
    }
    if (response.status === 401) {
      throw new ToolError(
        `the page at ${url} must be asked with its token (--token-file), and got ` +
          (token === undefined ? "none" : "another one"),
        EXIT.noPermission,
      );
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#foreign();
    }
    if (response.ok && typeof value === "object" && value !== null) return value;
    const { detail } = Object(value) as { detail?: unknown };
    if (typeof detail !== "string") throw this.#foreign();
    throw new ToolError(
      `the page at ${url} answers with status ${response.status}: ${detail.slice(0, 300)}`,
      response.status >= 500 ? EXIT.temporary : EXIT.protocol,
    );
  }

  #foreign(): ToolError {
    return new ToolError(
      `--api must be the page of our broker or of worker page, and ${this.#options.url} is another`,
      EXIT.protocol,
    );
  }
}

/** By how long their tasks wait; the dead last. */
function inOrder(one: QueueInfo, other: QueueInfo): number {
  return (one.delayMs ?? Infinity) - (other.delayMs ?? Infinity) || 0;
}

function rowOf({ name, paused, rates, ...queue }: QueueInfo): QueueRow {
  const numbers = {
    ready: queue.ready,
    consumers: queue.consumers,
    unacked: queue.unacked,
    in: rates?.in,
    out: rates?.out,
    oldestAt: queue.oldestAt,
  };
  return {
    name: String(name),
    ...(paused === true ? { state: "paused" } : {}),
    // What is none is nothing that a terminal should get to see.
    ...Object.fromEntries(
      Object.entries(numbers).filter(([, value]) => typeof value === "number"),
    ),
  };
}

/** @throws {Error} it is longer than any answer of a page */
async function readText(response: Response): Promise<string> {
  const { bytes, cut } = await readUpTo(response.body ?? [], MOST_BYTES);
  if (cut) throw new Error(`its answer is longer than ${MOST_BYTES} bytes`);
  return decoder.decode(bytes);
}
