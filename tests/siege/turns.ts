/** Attacks by whose turn it is: single active consumers, shared limits, heads that are replaced. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, method } from "../broker/strangers.ts";
import { fill, publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const SINGLE_ACTIVE: Attack = {
  name: "single active consumers that die one after another",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const args = { "x-single-active-consumer": true };
    await channel.call("queue.declare", { queue: "s", durable: true, arguments: args });
    await fill(siege, "s", siege.size(100_000, 20_000), { deliveryMode: 2 });
    siege.begin();
    const waiting = await Promise.all(Array.from({ length: 20 }, () => siege.attacker()));
    const consume = concat([
      method(1, "channel.open"),
      method(1, "basic.consume", { queue: "s", consumerTag: "c" }),
    ]);
    for (const attacker of waiting) await attacker.send(consume);
    while (!siege.isOver) {
      const active = waiting.shift()!;
      for (let n = 0; n < 100 && active.received < 1_000_000; n++) await pause(5);
      active.close();
      const next = await siege.attacker();
      await next.send(consume);
      waiting.push(next);
    }
  },
};

const SHARED_LIMIT: Attack = {
  name: "acknowledgements under a limit that 20,000 consumers share",
  async run(siege) {
    const attacker = await siege.attacker();
    const queues = siege.size(20_000, 5_000);
    const consumes = Array.from({ length: queues }, (_, n) => {
      return concat([
        method(1, "queue.declare", { queue: `l${n}`, exclusive: true, noWait: true }),
        method(1, "basic.consume", { queue: `l${n}`, consumerTag: `${n}`, noWait: true }),
      ]);
    });
    await attacker.send(
      method(1, "channel.open"),
      method(1, "basic.qos", { prefetchCount: 1, global: true }),
      ...consumes,
    );
    siege.begin();
    // An acknowledgement of everything is none of too much; each brings the next delivery.
    const ack = method(1, "basic.ack", { deliveryTag: 0, multiple: true });
    const piece = concat([publishes(1_000, { routingKey: "l0" }), ...Array(1_000).fill(ack)]);
    while (!siege.isOver) await attacker.send(piece);
  },
};

const RAISED_LIMIT: Attack = {
  name: "a limit of 10,000 consumers that is raised without end",
  async run(siege) {
    const attacker = await siege.attacker();
    const queues = siege.size(10_000, 2_000);
    const consumes = Array.from({ length: queues }, (_, n) => {
      return concat([
        method(1, "queue.declare", { queue: `r${n}`, exclusive: true, noWait: true }),
        method(1, "basic.consume", { queue: `r${n}`, consumerTag: `${n}`, noWait: true }),
      ]);
    });
    await attacker.send(method(1, "channel.open"), ...consumes);
    siege.begin();
    const piece = concat(Array.from({ length: 1_000 }, (_, n) => {
      return method(1, "basic.qos", { prefetchCount: n + 1, global: true });
    }));
    while (!siege.isOver) await attacker.send(piece);
  },
};

const REPLACED_HEADS: Attack = {
  name: "heads that live shorter than the one before, pushed out",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "dead" });
    const args = {
      "x-max-length": 1_000,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": "dead",
    };
    await channel.call("queue.declare", { queue: "h", arguments: args });
    siege.begin();
    const piece = concat(Array.from({ length: 500 }, (_, n) => {
      return concat([
        method(1, "basic.publish", { routingKey: "h" }),
        ...content(1, "x", { expiration: `${60_000 - n * 100}` }),
      ]);
    }));
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) {
      await attacker.send(piece);
      await channel.call("queue.purge", { queue: "dead" });
    }
  },
};

export const TURNS: readonly Attack[] = [
  SINGLE_ACTIVE,
  SHARED_LIMIT,
  RAISED_LIMIT,
  REPLACED_HEADS,
];
