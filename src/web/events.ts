/** Tells all who listen what has changed, as server-sent events. */
import type { IncomingMessage, ServerResponse } from "../observe/http.ts";
import { Outlet } from "../observe/outlet.ts";
import { acceptsGzip, type Gzip } from "./gzip.ts";
import type { Looks } from "./looks.ts";
import { each, encodeParts } from "./pieces.ts";
import { Shared } from "./shared.ts";
import type { Source } from "./source.ts";

/** Who may listen at a time; one more takes the place of another one. */
const MOST_LISTENERS = 50;

/** Bytes that a listener has not taken, with which it is told nothing more until it has. */
const MOST_UNREAD_BYTES = 1024 * 1024;

/** A comment. */
const BEAT = new TextEncoder().encode(":\n\n");

interface Listener {
  /** Where it is. */
  readonly address: string | undefined;
  readonly outlet: Outlet;
  /** What it is sent is compressed. */
  readonly zips: boolean;
  /** It has missed something, and is told everything the next time. */
  missed: boolean;
}

export class Events {
  readonly #source: Source;
  readonly #looks: Looks;
  readonly #gzip: () => Gzip;
  readonly #told = new Shared(() => this.#tell());
  readonly #listeners = new Map<ServerResponse, Listener>();
  /** What the listeners know of each queue, as JSON. */
  #known = new Map<string, string>();
  #stop: (() => void) | undefined;

  constructor(source: Source, looks: Looks, gzip: () => Gzip) {
    this.#source = source;
    this.#looks = looks;
    this.#gzip = gzip;
  }

  listen(request: IncomingMessage, response: ServerResponse): void {
    if (this.#listeners.size >= MOST_LISTENERS) this.#dismissOne();
    const zips = acceptsGzip(request);
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      vary: "accept-encoding",
      ...(zips ? { "content-encoding": "gzip" } : {}),
      // Proxies such as nginx would keep them until there are many.
      "x-accel-buffering": "no",
    });
    const { remoteAddress: address } = request.socket;
    const outlet = new Outlet(response);
    // Deno 2.4 would leave who is dismissed before anything was written waiting for it.
    outlet.write(zips ? [this.#gzip().streamHeader, this.#gzip().piece(BEAT)] : [BEAT]);
    this.#listeners.set(response, { address, outlet, zips, missed: true });
    request.once("close", () => this.#leave(response));
    response.once("close", () => this.#leave(response));
    this.#stop ??= this.#source.onChange(() => {
      if (this.#told.isBusy) this.#beat();
      else this.tell();
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
    for (const { outlet, zips } of this.#listeners.values()) {
      if (outlet.unsent === 0) outlet.write([zips ? this.#gzip().piece(BEAT) : BEAT]);
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
    if (this.#listeners.size > 0) await this.#told.get();
  }

  async #tell(): Promise<void> {
    try {
      const { queues, texts } = await this.#looks.queues();
      const overview = JSON.stringify(await this.#looks.overview());
      const known = new Map<string, string>();
      const changed: string[] = [];
      const gone: string[] = [];
      await each(queues.entries(), ([index, { vhost, name }]) => {
        const key = JSON.stringify({ vhost, name });
        const text = texts[index]!;
        known.set(key, text);
        if (this.#known.get(key) !== text) changed.push(text);
      });
      await each(this.#known.keys(), (key) => {
        if (!known.has(key)) gone.push(key);
      });
      const listeners = [...this.#listeners.values()];
      const behind = listeners.filter(({ missed }) => missed);
      const others = listeners.filter(({ missed }) => !missed);
      const whole = await this.#encode(behind, overview, texts, [], true);
      const part = await this.#encode(others, overview, changed, gone, false);
      this.#known = known;
      for (const listener of listeners) {
        const { plain, zipped } = listener.missed ? whole : part;
        listener.missed = listener.outlet.unsent > MOST_UNREAD_BYTES;
        if (!listener.missed) listener.outlet.write(listener.zips ? zipped : plain);
      }
    } catch {
      // The source has trouble, which who asks it is told: the next look is in a moment.
    }
  }

  /** As it goes to those for whom it is; what nobody wants is not made. */
  async #encode(
    listeners: readonly Listener[],
    ...event: Parameters<typeof encode>
  ): Promise<{ plain: Uint8Array[]; zipped: Uint8Array[] }> {
    if (listeners.length === 0) return { plain: [], zipped: [] };
    const plain = await encode(...event);
    const zips = listeners.some(({ zips }) => zips);
    return { plain, zipped: zips ? await this.#gzip().pieces(plain) : [] };
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
): Promise<Uint8Array[]> {
  const start = `event: change\ndata: {"overview":${overview},"queues":[`;
  return encodeParts(start, queues, '],"gone":[', gone, `],"whole":${whole}}\n\n`);
}
