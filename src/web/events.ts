/** Tells all who listen what has changed, as server-sent events. */
import type { IncomingMessage, ServerResponse } from "../observe/http.ts";
import type { Source } from "./source.ts";
import { textsOf } from "./texts.ts";

/** Who may listen at a time; one more takes the place of another one. */
const MOST_LISTENERS = 50;

/**
 * What changes by itself is told after a pause that is as many times as long as it took to tell it
 * before, or as many milliseconds.
 */
const PAUSE_TIMES = 4;
const MOST_PAUSE_MS = 5_000;

/** Bytes that a listener has not taken, with which it is told nothing more until it has. */
const MOST_UNREAD_BYTES = 1024 * 1024;

const encoder = new TextEncoder();

/** A comment. */
const BEAT = encoder.encode(":\n\n");

interface Listener {
  /** Where it is. */
  readonly address: string | undefined;
  /** It has missed something, and is told everything the next time. */
  missed: boolean;
}

export class Events {
  readonly #source: Source;
  readonly #listeners = new Map<ServerResponse, Listener>();
  /** What the listeners know of each queue, as JSON. */
  #known = new Map<string, string>();
  /** In performance.now(): before, nobody is told what changes by itself. */
  #next = 0;
  #stop: (() => void) | undefined;
  #telling: Promise<void> | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  listen(request: IncomingMessage, response: ServerResponse): void {
    if (this.#listeners.size >= MOST_LISTENERS) this.#dismissOne();
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      // Proxies such as nginx would keep them until there are many.
      "x-accel-buffering": "no",
    });
    this.#listeners.set(response, { address: request.socket.remoteAddress, missed: true });
    request.once("close", () => this.#leave(response));
    response.once("close", () => this.#leave(response));
    this.#stop ??= this.#source.onChange(() => {
      if (this.#telling === undefined && performance.now() >= this.#next) this.tell();
      else this.#beat();
    });
    this.tell();
  }

  /** The oldest of the address that has most of them: so nobody keeps all others out. */
  #dismissOne(): void {
    const groups = Map.groupBy(this.#listeners, ([, { address }]) => address);
    const [most] = [...groups.values()].sort((one, other) => other.length - one.length);
    const [oldest] = most![0]!;
    this.#leave(oldest);
    oldest.destroy();
  }

  /** Tells that there is somebody, who has nothing to tell yet. */
  #beat(): void {
    for (const response of this.#listeners.keys()) {
      if (response.writableLength === 0) response.write(BEAT);
    }
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
    let start = performance.now();
    try {
      const queues = await this.#source.queues();
      const overview = JSON.stringify(await this.#source.overview());
      // Another broker may have been waited for, which costs nothing here.
      start = performance.now();
      const texts = await textsOf(queues);
      const names = await textsOf(queues.map(({ vhost, name }) => [vhost, name]));
      const known = new Map(names.map((name, i) => [name, texts[i]!]));
      const changed = texts.filter((text, i) => text !== this.#known.get(names[i]!));
      const gone = [...this.#known.keys()].filter((name) => !known.has(name)).map((name) => {
        const [vhost, queue] = JSON.parse(name) as [string, string];
        return JSON.stringify({ vhost, name: queue });
      });
      this.#known = known;
      let part: Uint8Array | undefined;
      let whole: Uint8Array | undefined;
      for (const [response, listener] of this.#listeners) {
        const { missed } = listener;
        listener.missed = response.writableLength > MOST_UNREAD_BYTES;
        if (listener.missed) continue;
        response.write(
          missed
            ? whole ??= encode(overview, texts, [], true)
            : part ??= encode(overview, changed, gone, false),
        );
      }
    } catch {
      // The source has trouble, which who asks it is told: the next look is in a moment.
    } finally {
      this.#telling = undefined;
      const end = performance.now();
      this.#next = end + Math.min(MOST_PAUSE_MS, PAUSE_TIMES * (end - start));
    }
  }

  end(): void {
    for (const response of [...this.#listeners.keys()]) {
      this.#leave(response);
      response.end();
    }
  }
}

/** A `ChangeEvent` of what is JSON already. */
function encode(
  overview: string,
  queues: readonly string[],
  gone: readonly string[],
  whole: boolean,
): Uint8Array {
  const lists = `"queues":[${queues.join()}],"gone":[${gone.join()}]`;
  const data = `{"overview":${overview},${lists},"whole":${whole}}`;
  return encoder.encode(`event: change\ndata: ${data}\n\n`);
}
