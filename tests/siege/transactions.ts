/** Attacks by what one transaction does. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, method } from "../broker/strangers.ts";
import { fill, holder, publishes, receive } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const NACKS: Attack = {
  name: "a transaction that gives back 150,000, one by one",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "n", durable: true });
    const count = siege.size(150_000, 40_000);
    await fill(siege, "n", count, { deliveryMode: 2 });
    const attacker = await holder(siege, "n", count);
    await attacker.send(method(1, "basic.cancel", { consumerTag: "c" }));
    const nacks = Array.from({ length: count }, (_, n) => {
      return method(1, "basic.nack", { deliveryTag: n + 1, requeue: true });
    });
    siege.begin();
    await attacker.send(concat(nacks), method(1, "tx.commit"));
    await siege.over;
  },
};

const ACKS: Attack = {
  name: "a transaction of acknowledgements of 20,000 busy consumers",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    const count = siege.size(20_000, 3_000);
    const attacker = await siege.attacker();
    const consumes = Array.from({ length: count }, (_, n) => {
      return method(1, "basic.consume", { queue: "c", consumerTag: `${n}`, noWait: true });
    });
    await attacker.send(
      method(1, "channel.open"),
      method(1, "tx.select"),
      method(1, "basic.qos", { prefetchCount: 1 }),
      ...consumes,
    );
    await fill(siege, "c", count * 2);
    await receive(siege, attacker, count);
    const acks = Array.from({ length: count }, (_, n) => {
      return method(1, "basic.ack", { deliveryTag: count - n });
    });
    siege.begin();
    await attacker.send(...acks, method(1, "tx.commit"));
    await siege.over;
  },
};

const REJECTS: Attack = {
  name: "a transaction that rejects 190,000 into a dead-letter queue",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "dead", durable: true });
    await channel.call("queue.declare", {
      queue: "n",
      durable: true,
      arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
    });
    const count = siege.size(190_000, 20_000);
    await fill(siege, "n", count, { deliveryMode: 2 });
    const attacker = await holder(siege, "n", count);
    siege.begin();
    await pause(300);
    await attacker.send(
      method(1, "basic.nack", { deliveryTag: 0, multiple: true, requeue: false }),
      method(1, "tx.commit"),
    );
    await siege.over;
  },
};

const MANY: Attack = {
  name: "fifteen connections commit 39,000 publishes each",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", {
      queue: "t",
      durable: true,
      arguments: { "x-max-length": 1_000_000 },
    });
    siege.begin();
    const piece = publishes(13_000, { routingKey: "t" }, { deliveryMode: 2 });
    await Promise.all(Array.from({ length: 15 }, async () => {
      const attacker = await siege.attacker();
      await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
      while (!siege.isOver) {
        for (let n = 0; n < siege.size(3, 1) && !siege.isOver; n++) await attacker.send(piece);
        await attacker.send(method(1, "tx.commit"));
      }
    }));
  },
};

export const TRANSACTIONS: readonly Attack[] = [NACKS, ACKS, REJECTS, MANY];
