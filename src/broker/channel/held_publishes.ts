/** What a channel has published since its transaction began. */

import { LARGE_BYTES } from "../message/content.ts";
import type { Publication } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import { Fault } from "../wire/faults.ts";
import type { ChannelHost } from "./host.ts";
import type { Target } from "./target.ts";

/** A checked publish that waits for its transaction. */
export interface HeldPublish {
  publication: Publication;
  target: Target;
  queues: readonly Queue[];
}

/** Bytes of memory that a publish in a transaction takes besides its content, and each copy of it. */
const OVERHEAD_BYTES = 1_000;
const COPY_BYTES = 400;

/** The first message for a durable queue takes as long as others: it changes a page of its own. */
const FIRST_OF_QUEUE = 4;

export class HeldPublishes {
  readonly #session: Pick<ChannelHost, "limits" | "outbox" | "vhost">;
  /** In the order of their coming. */
  #held: HeldPublish[] = [];
  /** The durable queues that they lead to, and what a commit has to do, in messages. */
  readonly #queues = new Set<Queue>();
  #messages = 0;

  constructor(session: Pick<ChannelHost, "limits" | "outbox" | "vhost">) {
    this.#session = session;
  }

  /**
   * @returns bytes of memory that it takes besides its content
   * @throws {Fault} resource-error when the transaction, a piece that nobody can interrupt, would hold
   * the others up for too long
   */
  add(publish: HeldPublish): number {
    const { publication, queues } = publish;
    // Others come and go before the commit.
    publication.content.detach();
    this.#held.push(publish);
    this.#count(queues);
    return OVERHEAD_BYTES + COPY_BYTES * queues.length;
  }

  #count(queues: readonly Queue[]): void {
    const before = this.#queues.size;
    for (const queue of queues) if (queue.durable) this.#queues.add(queue);
    const firsts = this.#queues.size - before;
    this.#messages += Math.max(1, queues.length) + FIRST_OF_QUEUE * firsts;
    const most = this.#session.limits.transaction;
    if (this.#messages <= most) return;
    throw new Fault(
      "resource-error",
      `a transaction would put ${this.#messages} messages into queues, it may put ${most}`,
    );
  }

  /**
   * A commit gives back at once what it has no queue for. Whoever does not read that must not collect
   * it in memory.
   * @throws {Fault} resource-error
   */
  requireReturnRoom(): void {
    const { vhost, outbox } = this.#session;
    let bytes = 0;
    for (const { publication, target, queues } of this.#held) {
      if (!target.mandatory || presentOf(queues, vhost).length > 0) continue;
      // Large ones have room of their own.
      bytes += Math.min(publication.content.size, LARGE_BYTES);
    }
    if (bytes === 0 || outbox.hasAnswerRoom(bytes)) return;
    throw new Fault(
      "resource-error",
      `a transaction returns ${bytes} bytes, and there is no room for them`,
    );
  }

  /** All of them, to be committed or given up. The next transaction begins. */
  take(): HeldPublish[] {
    const held = this.#held;
    this.#held = [];
    this.#queues.clear();
    this.#messages = 0;
    return held;
  }
}

/** One that was deleted meanwhile may be there again. */
export function presentOf(queues: readonly Queue[], vhost: VirtualHost): Queue[] {
  return queues.map((queue) => queue.deleted ? vhost.findQueue(queue.name) : queue)
    .filter((queue) => queue !== undefined);
}

/** Nobody else has their contents yet. */
export function giveUp(publishes: readonly HeldPublish[]): void {
  for (const { publication } of publishes) publication.content.giveUp();
}
