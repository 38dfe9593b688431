/** Reads the queues of a crash test without acknowledging. */
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import { idIn } from "./crash_copies.ts";
import { nameOf } from "./crash_names.ts";

/** Dead letters move piece by piece, and nobody can see those that are on their way. */
const QUIET_ROUNDS = 5;

/** One channel for each, from 1 on. */
export async function openReaders(peer: Peer, queues: readonly string[]): Promise<Reader[]> {
  const readers: Reader[] = [];
  for (const queue of queues) {
    const channel = await peer.open(readers.length + 1);
    await channel.call("basic.consume", { queue: nameOf(queue), consumerTag: "reader" });
    readers.push(new Reader(queue, channel));
  }
  return readers;
}

export async function readAll(readers: readonly Reader[]): Promise<void> {
  for (let quiet = 0; quiet < QUIET_ROUNDS;) {
    quiet++;
    for (const reader of readers) if (await reader.read()) quiet = 0;
  }
}

/** @returns the ids of what was read, which is gone for ever once their answers have come */
export async function takeAll(readers: readonly Reader[]): Promise<string[]> {
  for (const reader of readers) await reader.take();
  return readers.flatMap(({ ids }) => ids);
}

/** Consumes a queue without acknowledging. */
export class Reader {
  readonly ids: string[] = [];

  constructor(readonly queue: string, readonly channel: PeerChannel) {}

  /** Takes what is there. @returns whether there was something */
  async read(): Promise<boolean> {
    const before = this.ids.length;
    let left: number;
    do {
      await this.channel.send("queue.declare", { queue: nameOf(this.queue), passive: true });
      left = (await this.#until("queue.declare-ok")).messageCount;
    } while (left > 0);
    return this.ids.length > before;
  }

  /** Ends, and takes what was read away for ever. */
  async take(): Promise<void> {
    await this.channel.send("basic.cancel", { consumerTag: "reader" });
    await this.#until("basic.cancel-ok");
    await this.channel.send("basic.ack", { deliveryTag: 0, multiple: true });
    await this.channel.call("channel.close");
  }

  async #until(wanted: string) {
    for (;;) {
      const { name, args } = await this.channel.method();
      if (name === wanted) return args;
      if (name !== "basic.deliver") throw new Error(`Expected ${wanted}, got ${name}`);
      const id = (await this.channel.readContent(args)).text.trim();
      this.ids.push(idIn(this.queue, id));
    }
  }
}
