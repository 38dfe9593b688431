/** Attacks by what the broker has to remember: letters that have nowhere to go, and keys. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, method } from "../broker/strangers.ts";
import { fanOut, fill } from "./preparing.ts";
import type { Attack, Siege } from "./siege.ts";

/** Declares a queue whose dead letters are kept until the exchange `last` has a place for them. */
async function declareSource(siege: Siege) {
  const channel = await (await siege.peer()).open();
  await channel.call("exchange.declare", { exchange: "last", type: "fanout", durable: true });
  await channel.call("queue.declare", {
    queue: "source",
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-dead-letter-exchange": "last",
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
      "x-message-ttl": siege.size(2_000, 500),
    },
  });
  return channel;
}

const COMES_AND_GOES: Attack = {
  name: "100,000 kept letters, whose queue comes and goes",
  async run(siege) {
    const channel = await declareSource(siege);
    await channel.call("queue.declare", { queue: "target", durable: true });
    await fill(siege, "source", siege.size(100_000, 10_000), { deliveryMode: 2 });
    siege.begin();
    while (!siege.isOver) {
      await pause(1_000);
      await channel.call("queue.bind", { queue: "target", exchange: "last" });
      await pause(500);
      await channel.call("queue.unbind", { queue: "target", exchange: "last" });
    }
  },
};

const FULL: Attack = {
  name: "100,000 kept letters, and a queue that is full",
  async run(siege) {
    const channel = await declareSource(siege);
    const limit = { "x-max-length": 100, "x-overflow": "reject-publish" };
    await channel.call("queue.declare", { queue: "target", durable: true, arguments: limit });
    await channel.call("queue.bind", { queue: "target", exchange: "last" });
    await fill(siege, "source", siege.size(100_000, 10_000), { deliveryMode: 2 });
    siege.begin();
    while (!siege.isOver) {
      await pause(200);
      await channel.call("queue.purge", { queue: "target" });
    }
  },
};

const KEY = "00000000";

/** Publishes with other keys each time. */
class Keys {
  readonly #piece: Uint8Array;
  /** Where the keys are in it. */
  readonly #places: number[] = [];
  #next: number;

  constructor(queue: string, first: number, count: number) {
    const headers = { "x-deduplication-header": KEY };
    this.#next = first;
    this.#piece = concat(
      Array<Uint8Array[]>(count).fill([
        method(1, "basic.publish", { routingKey: queue }),
        ...content(1, "x", { deliveryMode: 2, headers }),
      ]).flat(),
    );
    const text = new TextDecoder("latin1").decode(this.#piece);
    for (let at = -1; (at = text.indexOf(KEY, at + 1)) >= 0;) this.#places.push(at);
  }

  next(): Uint8Array {
    const encoder = new TextEncoder();
    for (const place of this.#places) {
      const key = `${this.#next++}`.padStart(KEY.length, "0");
      encoder.encodeInto(key, this.#piece.subarray(place, place + KEY.length));
    }
    return this.#piece;
  }
}

const ARGUMENTS = { "x-message-deduplication": true, "x-cache-size": 100_000, "x-max-length": 10 };

const MANY_KEYS: Attack = {
  name: "ten queues without duplicates, and always other keys",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    for (let n = 0; n < 10; n++) {
      const queue = `keys${n}`;
      await channel.call("queue.declare", { queue, durable: true, arguments: ARGUMENTS });
    }
    siege.begin();
    await Promise.all(Array.from({ length: 10 }, async (_, n) => {
      const attacker = await siege.attacker();
      await attacker.send(method(1, "channel.open"));
      const keys = new Keys(`keys${n}`, n * 5_000_000, 500);
      while (!siege.isOver) await attacker.send(keys.next());
    }));
  },
};

const DELETED: Attack = {
  name: "a queue that remembers 100,000 keys is deleted, again and again",
  async run(siege) {
    const peer = await siege.peer();
    const channel = await peer.open();
    const count = siege.size(100_000, 10_000);
    const keys = new Keys("keys", 0, 1_000);
    const declare = () =>
      channel.call("queue.declare", { queue: "keys", durable: true, arguments: ARGUMENTS });
    const remember = async () => {
      for (let sent = 0; sent < count && !siege.isOver; sent += 1_000) {
        await peer.sendBytes(keys.next());
        await declare();
      }
    };
    await declare();
    await remember();
    siege.begin();
    while (!siege.isOver) {
      await channel.call("queue.delete", { queue: "keys" });
      await declare();
      await remember();
    }
  },
};

const PARTIAL: Attack = {
  name: "letters that 1,000 queues take and one refuses",
  async run(siege) {
    const channel = await fanOut(siege, siege.size(1_000, 200), {
      durable: true,
      arguments: { "x-max-length": 5 },
    });
    const full = { "x-max-length": 0, "x-overflow": "reject-publish" };
    await channel.call("queue.declare", { queue: "full", durable: true, arguments: full });
    await channel.call("queue.bind", { queue: "full", exchange: "all" });
    await channel.call("queue.declare", {
      queue: "source",
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "all",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      },
    });
    const count = siege.size(20_000, 2_000);
    await fill(siege, "source", count, { deliveryMode: 2 });
    const attacker = await siege.attacker();
    await attacker.send(
      method(1, "channel.open"),
      method(1, "basic.consume", { queue: "source", consumerTag: "c" }),
    );
    while (attacker.received < count * 40 && !siege.isOver) await pause(20);
    siege.begin();
    await attacker.send(
      method(1, "basic.nack", { deliveryTag: 0, multiple: true, requeue: false }),
    );
    await siege.over;
  },
};

export const KEEPERS: readonly Attack[] = [COMES_AND_GOES, FULL, MANY_KEYS, DELETED, PARTIAL];
