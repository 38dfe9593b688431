/** Tells all who listen what has changed, as server-sent events. */
import type { IncomingMessage, ServerResponse } from "../observe/http.ts";
import type { ChangeEvent, QueueInfo } from "../observe/board.ts";
import { Problem } from "../observe/problem.ts";
import type { Source } from "./source.ts";

/** Who may listen at a time. */
const MOST_LISTENERS = 50;

/** Bytes that a listener has not taken, with which it is told nothing more until it has. */
const MOST_UNREAD_BYTES = 1024 * 1024;

const encoder = new TextEncoder();

export class Events {
  readonly #source: Source;
  /** True: it has missed something, and is told everything the next time. */
  readonly #listeners = new Map<ServerResponse, boolean>();
  /** What the listeners know of each queue, as JSON. */
  #known = new Map<string, string>();
  #stop: (() => void) | undefined;
  #telling: Promise<void> | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  /** @throws {Problem} 503 */
  listen(request: IncomingMessage, response: ServerResponse): void {
    if (this.#listeners.size >= MOST_LISTENERS) {
      throw new Problem(503, `at most ${MOST_LISTENERS} may listen at a time`, {
        "retry-after": "5",
      });
    }
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    });
    this.#listeners.set(response, true);
    request.once("close", () => this.#leave(response));
    response.once("close", () => this.#leave(response));
    this.#stop ??= this.#source.onChange(() => this.tell());
    this.tell();
  }

  #leave(response: ServerResponse): void {
    this.#listeners.delete(response);
    if (this.#listeners.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
    this.#known.clear();
  }

  /** Tells what is so now: somebody has changed something. */
  async tell(): Promise<void> {
    await this.#telling;
    if (this.#listeners.size > 0) await (this.#telling ??= this.#tell());
  }

  async #tell(): Promise<void> {
    try {
      const queues = await this.#source.queues();
      const overview = await this.#source.overview();
      const known = new Map(queues.map((queue) => [nameOf(queue), JSON.stringify(queue)]));
      const changed = queues.filter((queue) => {
        const name = nameOf(queue);
        return known.get(name) !== this.#known.get(name);
      });
      const gone = [...this.#known.keys()].filter((name) => !known.has(name)).map((name) => {
        const [vhost, queue] = JSON.parse(name) as [string, string];
        return { vhost, name: queue };
      });
      this.#known = known;
      let part: Uint8Array | undefined;
      let whole: Uint8Array | undefined;
      for (const [response, missed] of this.#listeners) {
        if (response.writableLength > MOST_UNREAD_BYTES) {
          this.#listeners.set(response, true);
          continue;
        }
        this.#listeners.set(response, false);
        response.write(
          missed
            ? whole ??= encode({ overview, queues, gone: [], whole: true })
            : part ??= encode({ overview, queues: changed, gone, whole: false }),
        );
      }
    } catch {
      // The source has trouble, which who asks it is told: the next look is in a moment.
    } finally {
      this.#telling = undefined;
    }
  }

  end(): void {
    for (const response of [...this.#listeners.keys()]) {
      this.#leave(response);
      response.end();
    }
  }
}

function nameOf({ vhost, name }: QueueInfo): string {
  return JSON.stringify([vhost, name]);
}

function encode(event: ChangeEvent): Uint8Array {
  return encoder.encode(`event: change\ndata: ${JSON.stringify(event)}\n\n`);
}
