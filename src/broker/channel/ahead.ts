/**
 * Brings the body of a very large publish into the store before it is routed, some chunks for each
 * commit: others' commits go between. Until then no queue knows of it.
 */

import type { Content } from "../message/content.ts";
import { CHUNKED_FROM } from "../message/stored_body.ts";
import type { Publication } from "../message/message.ts";
import { isKept } from "../queue/arguments.ts";
import type { Queue } from "../queue/queue.ts";
import type { GrowingBody } from "../store/messages/bodies.ts";
import type { Slice, Work } from "../../time/scheduler.ts";
import type { ChannelHost } from "./host.ts";

/**
 * Bytes of a content that is not kept over a restart. It is only stored if nobody takes it at once:
 * unless two of its kind, one that comes and one that goes, would be too much for memory.
 */
const TRANSIENT_FROM = 16 * 1024 * 1024;

/** Whether a publish is so large, and where its body is to be: for good, or until it is taken. */
export function goesAhead(
  publication: Publication,
  queues: readonly Queue[],
): "durable" | "transient" | undefined {
  const { size, stored } = publication.content;
  if (size < CHUNKED_FROM || stored !== undefined || queues.length === 0) return undefined;
  if (queues.some((queue) => isKept(queue, publication))) return "durable";
  return size < TRANSIENT_FROM ? undefined : "transient";
}

export class Ahead implements Work {
  readonly #session: ChannelHost;
  readonly #content: Content;
  readonly #body: GrowingBody;
  /** Bytes that are on their way. */
  #written = 0;

  constructor(session: ChannelHost, content: Content, kind: "durable" | "transient") {
    this.#session = session;
    this.#content = content;
    this.#body = session.beginBody(content.bodyLength, kind);
  }

  get #isDone(): boolean {
    return this.#written === this.#body.length;
  }

  work(slice: Slice): boolean {
    // Meanwhile the disk may have become full.
    while (!this.#isDone && !this.#session.isRefusing) {
      // A copy: the content gives up its memory before the commit.
      const chunk = this.#content.chunk(this.#written).slice();
      this.#body.append(chunk);
      this.#written += chunk.length;
      if (slice.isOver) break;
    }
    return !(this.#isDone && this.#body.isWritten) && !this.#session.isRefusing;
  }

  /** The content, whose body is in the store if all of it could go there. */
  take(): Content {
    const content = this.#content;
    if (!this.#isDone || !this.#body.isWritten) {
      this.end();
      return content;
    }
    const stored = content.withStored(this.#body);
    content.giveUp();
    this.end();
    return stored;
  }

  /** There is no more to do, or its channel is over: others may have the memory. */
  end(): void {
    this.#body.end();
    this.#session.pending.written();
  }
}
