/**
 * Letters of the crash test that are kept until there is a queue for them. They cannot be seen
 * before: so what became of them is looked at after some rounds only, when the queue is there.
 */
import { setTimeout as pause } from "node:timers/promises";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import type { Random } from "../support/random.ts";
import { nameOf } from "./crash_names.ts";
import { bodyOf, publishForEver } from "./crash_publishing.ts";
import { openReaders, takeAll } from "./crash_reading.ts";
import { Ledger, type Verdict } from "./ledger.ts";

const EXCHANGE = "letters\0\0";
const SOURCE = "source";
const TARGET = "letters";
const ARGUMENTS = {
  "x-queue-type": "quorum",
  "x-dead-letter-exchange": EXCHANGE,
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
  "x-message-ttl": 40,
};

/** Milliseconds in which all must have come. */
const COME_MS = 60_000;

export class Letters {
  readonly #ledger = new Ledger();

  async declare(port: number): Promise<void> {
    await using peer = await openPeer(port);
    const channel = await peer.open();
    await channel.call("exchange.declare", { exchange: EXCHANGE, type: "fanout", durable: true });
    const queue = nameOf(SOURCE);
    await channel.call("queue.declare", { queue, durable: true, arguments: ARGUMENTS });
    await channel.call("queue.declare", { queue: nameOf(TARGET), durable: true });
  }

  async publish(peer: Peer, round: string, random: Random): Promise<never> {
    return await publishForEver(peer, this.#ledger, (number) => {
      const id = `${round}.letter.${number}`;
      this.#ledger.published(id, SOURCE, true);
      return {
        ids: [id],
        target: { routingKey: nameOf(SOURCE) },
        body: bodyOf(id, random),
        properties: { deliveryMode: 2 },
      };
    });
  }

  /** Their queue comes and goes. */
  async turn(peer: Peer, random: Random): Promise<never> {
    const channel = await peer.open();
    const binding = { queue: nameOf(TARGET), exchange: EXCHANGE };
    for (;;) {
      await channel.call("queue.bind", binding);
      await pause(random.below(100));
      await channel.call("queue.unbind", binding);
      await pause(random.below(300));
    }
  }

  /** Lets all come, and compares. */
  async compare(port: number, verdict: Verdict, say: (sentence: string) => void): Promise<void> {
    await using peer = await openPeer(port);
    const readers = await openReaders(peer, [SOURCE, TARGET]);
    const channel = await peer.open(readers.length + 1);
    await channel.call("queue.bind", { queue: nameOf(TARGET), exchange: EXCHANGE });
    const end = performance.now() + COME_MS;
    const missing = new Set(this.#ledger.promised());
    while (missing.size > 0 && performance.now() < end) {
      for (const reader of readers) {
        const known = reader.ids.length;
        await reader.read();
        for (const id of reader.ids.slice(known)) missing.delete(id);
      }
      await pause(20);
    }
    this.#ledger.compare(new Map(readers.map(({ queue, ids }) => [queue, ids])), verdict, say);
    this.#ledger.purged(await takeAll(readers));
  }
}
