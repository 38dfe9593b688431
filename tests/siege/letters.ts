/** Attacks by what one death causes. */
import { setTimeout as pause } from "node:timers/promises";
import { method } from "../broker/strangers.ts";
import { fanOut, fill, publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const DEAD_TO_ALL: Attack = {
  name: "dead letters that die in ten queues",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
    for (let n = 0; n < 10; n++) {
      await channel.call("queue.declare", {
        queue: `d${n}`,
        arguments: { "x-max-length": 0, "x-dead-letter-exchange": "all" },
      });
      await channel.call("queue.bind", { queue: `d${n}`, exchange: "all" });
    }
    siege.begin();
    await channel.publish({ exchange: "all" }, "x");
    await siege.over;
  },
};

/** @param args of the queue in which they wait */
function expiries(name: string, args: Record<string, unknown>, properties = {}): Attack {
  return {
    name,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      await channel.call("queue.declare", { queue: "dead", durable: true });
      await channel.call("queue.declare", {
        queue: "waiting",
        durable: true,
        arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", ...args },
      });
      await fill(siege, "waiting", siege.size(300_000, 30_000), { deliveryMode: 2, ...properties });
      siege.begin();
      await siege.over;
    },
  };
}

const MANY_HEADS: Attack = {
  name: "20,000 queues of which ten messages each die at one time",
  async run(siege) {
    const ttl = siege.size(15_000, 1_500);
    const channel = await fanOut(siege, siege.size(20_000, 1_000), {
      durable: true,
      arguments: {
        "x-message-ttl": ttl,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
      },
    });
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await channel.call("confirm.select");
    const start = performance.now();
    for (let n = 0; n < 10; n++) {
      await channel.publish({ exchange: "all" }, "x", { deliveryMode: 2 });
      await channel.expect("basic.ack", 60_000);
    }
    await pause(Math.max(0, ttl - 500 - (performance.now() - start)));
    siege.begin();
    await siege.over;
  },
};

const MANY_REJECTED: Attack = {
  name: "a nack of all, into a dead-letter queue",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await channel.call("queue.declare", {
      queue: "work",
      durable: true,
      arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
    });
    const count = siege.size(190_000, 20_000);
    await fill(siege, "work", count, { deliveryMode: 2 });
    const attacker = await siege.attacker();
    await attacker.send(
      method(1, "channel.open"),
      method(1, "basic.consume", { queue: "work", consumerTag: "c" }),
    );
    while (attacker.received < count * 40) await pause(50);
    siege.begin();
    await pause(300);
    await attacker.send(
      method(1, "basic.nack", { deliveryTag: 0, multiple: true, requeue: false }),
    );
    await siege.over;
  },
};

const CYCLE: Attack = {
  name: "rejects that come round a ring of queues",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    for (let n = 0; n < 20; n++) {
      await channel.call("queue.declare", {
        queue: `r${n}`,
        arguments: {
          "x-dead-letter-exchange": "",
          "x-dead-letter-routing-key": `r${(n + 1) % 20}`,
          "x-message-ttl": 0,
        },
      });
    }
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const piece = publishes(2_000, { routingKey: "r0" });
    while (!siege.isOver) await attacker.send(piece);
  },
};

/** @param args of the queue in which they wait */
function overflow(name: string, args: Record<string, unknown>, properties = {}): Attack {
  return {
    name,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      const count = siege.size(300_000, 30_000);
      await channel.call("queue.declare", { queue: "dead", durable: true });
      await channel.call("queue.declare", {
        queue: "o",
        durable: true,
        arguments: { "x-max-length-bytes": count, ...args },
      });
      await fill(siege, "o", count, properties);
      siege.begin();
      await pause(500);
      await channel.publish({ routingKey: "o" }, new Uint8Array(count), properties);
      await siege.over;
    },
  };
}

export const LETTERS: readonly Attack[] = [
  DEAD_TO_ALL,
  MANY_HEADS,
  expiries("a time to live of 300,000 messages ends", { "x-message-ttl": 20_000 }),
  expiries("a queue of 300,000 messages is unused for too long", { "x-expires": 1_000 }, {
    expiration: "20000",
  }),
  MANY_REJECTED,
  CYCLE,
  overflow("a body for which 300,000 messages have to go", {}),
  overflow(
    "a body for which 300,000 messages have to die",
    { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
    { deliveryMode: 2 },
  ),
];
