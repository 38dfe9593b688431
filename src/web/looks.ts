/** What is told of a broker as a whole: one look at it for all who ask. */
import type { Overview, QueueInfo } from "../observe/board.ts";
import { encodeParts, textsOf } from "./pieces.ts";
import { Shared } from "./shared.ts";
import type { Source } from "./source.ts";

/** Queues, and each as JSON. */
export interface QueueList {
  readonly queues: readonly QueueInfo[];
  readonly texts: readonly string[];
}

export class Looks {
  readonly #overview: Shared<Overview>;
  readonly #queues: Shared<QueueList>;
  readonly #list: Shared<Uint8Array[]>;
  readonly #metrics: Shared<Uint8Array[]>;

  constructor(source: Source) {
    this.#overview = new Shared(async () => await source.overview());
    this.#queues = new Shared(async () => {
      const queues = await source.queues();
      return { queues, texts: await textsOf(queues) };
    });
    this.#list = new Shared(async () => await encodeList((await this.queues()).texts));
    this.#metrics = new Shared(async () => await encodeParts(await source.metrics!()));
  }

  overview(): Promise<Overview> {
    return this.#overview.get();
  }

  queues(): Promise<QueueList> {
    return this.#queues.get();
  }

  /** All queues, as the API tells them. */
  list(): Promise<Uint8Array[]> {
    return this.#list.get();
  }

  /** Of a source that has them. */
  metrics(): Promise<Uint8Array[]> {
    return this.#metrics.get();
  }
}

export function encodeList(texts: readonly string[]): Promise<Uint8Array[]> {
  return encodeParts('{"queues":[', texts, "]}\n");
}
