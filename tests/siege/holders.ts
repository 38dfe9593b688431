/** Attacks by what is held on very many channels. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, method } from "../broker/strangers.ts";
import { fill } from "./preparing.ts";
import type { Attack, Attacker } from "./siege.ts";

const PERSISTENT = { deliveryMode: 2 };

const CROSSED: Attack = {
  name: "2,000 channels that consume from the same 30 queues, read slowly, then cut",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const queues = siege.size(30, 10);
    const channels = siege.size(2_000, 300);
    for (let q = 0; q < queues; q++) {
      await channel.call("queue.declare", { queue: `q${q}`, durable: true });
      await fill(siege, `q${q}`, siege.size(10_000, 2_000), PERSISTENT);
    }
    siege.begin();
    while (!siege.isOver) {
      const attacker = await siege.attacker(false);
      for (let number = 1; number <= channels && !siege.isOver; number++) {
        const consumes = Array.from({ length: queues }, (_, q) => {
          return method(number, "basic.consume", {
            queue: `q${q}`,
            consumerTag: `${q}`,
            noWait: true,
          });
        });
        await attacker.send(method(number, "channel.open"), ...consumes);
      }
      for (let n = 0; n < 40 && !siege.isOver; n++) {
        await attacker.readSome(100_000);
        await pause(50);
      }
      attacker.close();
      await pause(500);
    }
  },
};

const HOLD_MANY: Attack = {
  name: "deliveries held on very many channels",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", durable: true });
    await fill(siege, "h", siege.size(2_000_000, 100_000), PERSISTENT);
    siege.begin();
    for (let n = 0; n < siege.size(6, 1) && !siege.isOver; n++) {
      const attacker = await siege.attacker();
      for (let number = 1; number <= siege.size(2_000, 400) && !siege.isOver; number++) {
        await attacker.send(
          method(number, "channel.open"),
          method(number, "basic.consume", { queue: "h", consumerTag: "c", noWait: true }),
        );
      }
    }
    await siege.over;
  },
};

const GETS_HELD: Attack = {
  name: "basic.get on ten channels, of which nothing is acknowledged",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", durable: true });
    await fill(siege, "h", siege.size(2_000_000, 100_000), PERSISTENT);
    siege.begin();
    await Promise.all(Array.from({ length: 2 }, async () => {
      const attacker = await siege.attacker();
      for (let number = 1; number <= 5 && !siege.isOver; number++) {
        await attacker.send(method(number, "channel.open"));
        const gets = concat(Array(1_000).fill(method(number, "basic.get", { queue: "h" })));
        for (let n = 0; n < 199 && !siege.isOver; n++) await attacker.send(gets);
      }
    }));
    await siege.over;
  },
};

const CUT_AT_ONCE: Attack = {
  name: "300 connections that hold 600 deliveries each, cut at once",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c", durable: true });
    await fill(siege, "c", siege.size(200_000, 20_000), { deliveryMode: 2 });
    siege.begin();
    while (!siege.isOver) {
      const all: Attacker[] = [];
      for (let n = 0; n < siege.size(300, 30) && !siege.isOver; n++) {
        const attacker = await siege.attacker();
        await attacker.send(
          method(1, "channel.open"),
          method(1, "basic.qos", { prefetchCount: 600 }),
          method(1, "basic.consume", { queue: "c", consumerTag: "c" }),
        );
        all.push(attacker);
      }
      await pause(1_000);
      for (const attacker of all) attacker.close();
      await pause(300);
    }
  },
};

const BUSY_CUT: Attack = {
  name: "6,000 connections with a busy consumer each, cut at once",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    await fill(siege, "c", 20_000);
    const all: Attacker[] = [];
    const consume = concat([
      method(1, "channel.open"),
      method(1, "basic.qos", { prefetchCount: 1 }),
      method(1, "basic.consume", { queue: "c", consumerTag: "c" }),
    ]);
    for (let n = 0; n < siege.size(6_000, 300); n++) {
      const attacker = await siege.attacker();
      await attacker.send(consume);
      all.push(attacker);
    }
    let consumerCount = 0;
    while (consumerCount < siege.size(6_000, 300)) {
      ({ consumerCount } = await channel.call("queue.declare", { queue: "c", passive: true }));
      await pause(50);
    }
    siege.begin();
    await pause(1_000);
    for (const attacker of all) attacker.close();
    await siege.over;
  },
};

export const HOLDERS: readonly Attack[] = [
  CUT_AT_ONCE,
  CROSSED,
  HOLD_MANY,
  GETS_HELD,
  BUSY_CUT,
];
