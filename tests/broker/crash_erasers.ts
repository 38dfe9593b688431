/** Clients of the crash test that empty whole queues, with deliveries of them unacknowledged. */
import type { Peer, PeerChannel } from "../support/protocol_peer.ts";
import type { Random } from "../support/random.ts";
import { nameOf } from "./crash_names.ts";
import type { Ledger } from "./ledger.ts";

/** More than the broker keeps of a queue in memory, and than it deletes at once. */
const DEEP = 2_500;
const SHALLOW = 300;
const WINDOW = 200;
/** Deliveries that are taken and not acknowledged before a queue is emptied. */
const HELD = 3;

/** Purges `deep`; what it holds of it comes back. */
export async function purge(
  peer: Peer,
  ledger: Ledger,
  round: string,
  random: Random,
): Promise<never> {
  const channel = await peer.open();
  const filler = await Filler.open(peer, ledger, random);
  const held = new Set<string>();
  for (let number = 1;; number++) {
    await filler.fill("deep", `${round}.deep.${number}`, DEEP);
    for (const { id } of await take(channel, "deep")) held.add(id);
    const gone = ledger.idsIn("deep").filter((id) => !held.has(id));
    for (const id of gone) ledger.acked(id);
    await channel.call("queue.purge", { queue: nameOf("deep") });
    ledger.settled(gone);
  }
}

/** Deletes `renewed` and declares it again; what it holds of the former one is gone with it. */
export async function renew(
  peer: Peer,
  ledger: Ledger,
  round: string,
  random: Random,
): Promise<never> {
  const channel = await peer.open();
  const filler = await Filler.open(peer, ledger, random);
  for (let number = 1;; number++) {
    await filler.fill("renewed", `${round}.new.${number}`, SHALLOW);
    const held = await take(channel, "renewed");
    const gone = ledger.idsIn("renewed");
    for (const id of gone) ledger.acked(id);
    await channel.call("queue.delete", { queue: nameOf("renewed") });
    ledger.settled(gone);
    for (const { deliveryTag } of held) {
      await channel.send("basic.reject", { deliveryTag, requeue: random.below(2) > 0 });
    }
    await channel.call("queue.declare", { queue: nameOf("renewed"), durable: true });
  }
}

interface Held {
  readonly id: string;
  readonly deliveryTag: number;
}

/** Takes some messages off the head of a queue. */
async function take(channel: PeerChannel, queue: string): Promise<Held[]> {
  const held: Held[] = [];
  while (held.length < HELD) {
    await channel.send("basic.get", { queue: nameOf(queue) });
    const { name, args } = await channel.method();
    if (name === "basic.get-empty") break;
    const { text } = await channel.readContent(args);
    held.push({ id: text, deliveryTag: args.deliveryTag });
  }
  return held;
}

/** Fills queues with persistent messages, transient ones between them and behind them. */
class Filler {
  readonly #waiting: string[] = [];
  #confirmed = 0;

  private constructor(
    readonly channel: PeerChannel,
    readonly ledger: Ledger,
    readonly random: Random,
  ) {}

  static async open(peer: Peer, ledger: Ledger, random: Random): Promise<Filler> {
    const channel = await peer.open(2);
    await channel.call("confirm.select");
    return new Filler(channel, ledger, random);
  }

  /** Publishes up to `most` messages; returns when all are confirmed. */
  async fill(queue: string, name: string, most: number): Promise<void> {
    const count = this.random.below(most);
    for (let i = 0; i < count; i++) {
      const id = `${name}.${i}`;
      const persistent = i < count * 0.8 && this.random.below(10) > 0;
      this.ledger.published(id, queue, persistent);
      this.#waiting.push(id);
      const deliveryMode = persistent ? 2 : 1;
      await this.channel.publish({ routingKey: nameOf(queue) }, id, { deliveryMode });
      while (this.#waiting.length >= WINDOW) await this.#confirm();
    }
    while (this.#waiting.length > 0) await this.#confirm();
  }

  async #confirm(): Promise<void> {
    const { deliveryTag } = await this.channel.expect("basic.ack");
    for (; this.#confirmed < deliveryTag; this.#confirmed++) {
      this.ledger.confirmed(this.#waiting.shift()!);
    }
  }
}
