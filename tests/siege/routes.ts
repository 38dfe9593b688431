/** Attacks by the way of one message. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, method } from "../broker/strangers.ts";
import { fanOut, publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const PERSISTENT = { deliveryMode: 2 };

const FANOUT: Attack = {
  name: "a fanout to 1,000 queues",
  async run(siege) {
    await fanOut(siege, siege.size(1_000, 300));
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    // 472 KB of publishes.
    await attacker.send(publishes(siege.size(7_800, 2_000), { exchange: "all" }, PERSISTENT));
    await siege.over;
  },
};

const WIDE_FANOUT: Attack = {
  name: "a fanout to 10,000 durable queues",
  async run(siege) {
    await fanOut(siege, siege.size(10_000, 2_000));
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    await attacker.send(publishes(siege.size(1_000, 100), { exchange: "all" }, PERSISTENT));
    await siege.over;
  },
};

const LARGE_FANOUT: Attack = {
  name: "bodies of 1 MB to 300 queues",
  async run(siege) {
    await fanOut(siege, 300);
    siege.begin();
    const attacker = await siege.peer();
    const out = await attacker.open();
    await out.call("confirm.select");
    const body = new Uint8Array(1024 * 1024);
    for (let n = 0; n < 20 && !siege.isOver; n++) {
      await out.publish({ exchange: "all" }, body, PERSISTENT);
      await out.expect("basic.ack");
    }
    await siege.over;
  },
};

/** Patterns of 60 words, and a key that nearly matches them. */
const TOPIC: Attack = {
  name: "2,000 topic bindings of 60 words",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("exchange.declare", { exchange: "topics", type: "topic" });
    await channel.call("queue.declare", { queue: "t" });
    for (let n = 0; n < siege.size(2_000, 500); n++) {
      const words: string[] = Array.from(
        { length: 60 },
        (_, at) => (n >> (at % 11)) & 1 ? "#" : "a",
      );
      words[59] = `z${n}`;
      await channel.call("queue.bind", {
        queue: "t",
        exchange: "topics",
        routingKey: words.join("."),
      });
    }
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    for (let n = 0; !siege.isOver; n++) {
      const routingKey = `${Array(120).fill("a").join(".")}.${n}`;
      const publish = method(1, "basic.publish", { exchange: "topics", routingKey });
      await attacker.send(concat(Array(20).fill(concat([publish, ...content(1, "x")]))));
    }
  },
};

const CHAIN: Attack = {
  name: "a chain of 500 exchanges, each with an alternate",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    for (let n = 0; n < 500; n++) {
      await channel.call("exchange.declare", {
        exchange: `e${n}`,
        type: n % 2 ? "headers" : "fanout",
        arguments: { "alternate-exchange": `e${n + 1}` },
      });
      if (n % 2) continue;
      if (n > 0) await channel.call("exchange.bind", { source: `e${n}`, destination: `e${n - 1}` });
    }
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const headers = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`h${n}`, n]));
    while (!siege.isOver) await attacker.send(publishes(20, { exchange: "e0" }, { headers }));
  },
};

const BINDING: Attack = {
  name: "binding and unbinding without end",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "b", durable: true });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const pairs = Array.from({ length: 500 }, (_, n) => {
      const args = { queue: "b", exchange: "amq.topic", routingKey: `a.#.${n}` };
      return concat([method(1, "queue.bind", args), method(1, "queue.unbind", args)]);
    });
    const piece = concat(pairs);
    while (!siege.isOver) await attacker.send(piece);
  },
};

const KEYS: Attack = {
  name: "publishes with 4,000 further keys to 1,000 queues",
  async run(siege) {
    await fanOut(siege, 1_000, { arguments: { "x-max-length": 1 } });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const headers = { CC: Array.from({ length: 4_000 }, (_, n) => `key${n}`) };
    while (!siege.isOver) await attacker.send(publishes(20, { exchange: "all" }, { headers }));
  },
};

const TRANSACTION: Attack = {
  name: "transactions to 1,000 queues",
  async run(siege) {
    await fanOut(siege, 1_000, { arguments: { "x-max-length": 10 } });
    siege.begin();
    // One that is refused, and then what may be.
    const greedy = await siege.attacker();
    await greedy.send(method(1, "channel.open"), method(1, "tx.select"));
    await greedy.send(publishes(2_000, { exchange: "all" }), method(1, "tx.commit"));
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
    const piece = concat([publishes(39, { exchange: "all" }), method(1, "tx.commit")]);
    while (!siege.isOver) await attacker.send(piece);
  },
};

const WIDE_TRANSACTION: Attack = {
  name: "transactions to 8,000 durable queues",
  async run(siege) {
    await fanOut(siege, siege.size(8_000, 2_000));
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
    const piece = concat([publishes(1, { exchange: "all" }, PERSISTENT), method(1, "tx.commit")]);
    for (let n = 0; n < 30 && !siege.isOver; n++) await attacker.send(piece);
    await siege.over;
  },
};

/** Each in a page of its own: acknowledgements, purges, deaths. */
const SCATTERED: Attack = {
  name: "acknowledgements and purges all over 1,000 queues",
  async run(siege) {
    const count = siege.size(1_000, 300);
    const channel = await fanOut(siege, count);
    await channel.call("confirm.select");
    const copies = siege.size(150, 20);
    await channel.peer.sendBytes(publishes(copies, { exchange: "all" }, PERSISTENT));
    for (let tag = 0; tag < copies;) {
      tag = Math.max(tag, (await channel.expect("basic.ack")).deliveryTag);
    }
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    for (let n = 0; n < count; n++) {
      await attacker.send(method(1, "basic.consume", { queue: `f${n}`, consumerTag: `${n}` }));
    }
    while (attacker.received < count * copies * 40 && !siege.isOver) await pause(50);
    siege.begin();
    // Every other delivery, and then all others, which are in the same pages.
    for (let first = 1; first <= 2; first++) {
      for (let tag = first; tag < count * copies && !siege.isOver; tag += 2_000) {
        const tags = Array.from({ length: 1_000 }, (_, n) => tag + 2 * n)
          .filter((tag) => tag <= count * copies);
        await attacker.send(...tags.map((deliveryTag) => method(1, "basic.ack", { deliveryTag })));
      }
    }
    for (let n = 0; n < count && !siege.isOver; n++) {
      await attacker.send(method(1, "queue.purge", { queue: `f${n}`, noWait: true }));
    }
    await siege.over;
  },
};

export const ROUTES: readonly Attack[] = [
  ...[FANOUT, LARGE_FANOUT, TOPIC, CHAIN, BINDING, WIDE_FANOUT],
  ...[KEYS, TRANSACTION, WIDE_TRANSACTION, SCATTERED],
];
