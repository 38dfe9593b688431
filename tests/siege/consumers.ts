/** Attacks by what is consumed, and how it is settled. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, method } from "../broker/strangers.ts";
import { fill, publishes } from "./preparing.ts";
import type { Attack, Attacker } from "./siege.ts";

const CONSUMERS_CLOSE: Attack = {
  name: "40,000 consumers on a queue, then close",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    const attackers: Attacker[] = [];
    const each = siege.size(10_000, 2_000);
    for (let n = 0; n < 4; n++) {
      const attacker = await siege.attacker();
      const consumes = Array.from({ length: each }, (_, tag) => {
        return method(1, "basic.consume", { queue: "c", consumerTag: `${n}.${tag}` });
      });
      await attacker.send(method(1, "channel.open"), ...consumes);
      attackers.push(attacker);
    }
    let consumerCount = 0;
    while (consumerCount < 4 * each) {
      ({ consumerCount } = await channel.call("queue.declare", { queue: "c", passive: true }));
      await pause(50);
    }
    await channel.publish({ routingKey: "c" }, "x");
    siege.begin();
    await pause(300);
    for (const attacker of attackers) attacker.close();
    await siege.over;
  },
};

const BUSY_CONSUMERS: Attack = {
  name: "5,000 busy consumers, one message at a time",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    const attacker = await siege.attacker();
    const consumes = Array.from({ length: 5_000 }, (_, tag) => {
      return method(1, "basic.consume", { queue: "c", consumerTag: `${tag}` });
    });
    await attacker.send(
      method(1, "channel.open"),
      method(1, "basic.qos", { prefetchCount: 1 }),
      ...consumes,
      publishes(10_000, { routingKey: "c" }),
    );
    siege.begin();
    for (let tag = 1; !siege.isOver; tag += 1_000) {
      if (attacker.received < tag * 20) await pause(20);
      await attacker.send(
        publishes(1_000, { routingKey: "c" }),
        method(1, "basic.nack", { deliveryTag: 0, multiple: true, requeue: true }),
      );
    }
  },
};

const ROLLBACKS: Attack = {
  name: "acknowledging 190,000 and taking it back",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "tx" });
    const count = siege.size(190_000, 50_000);
    await fill(siege, "tx", count);
    const attacker = await siege.attacker();
    await attacker.send(
      method(1, "channel.open"),
      method(1, "tx.select"),
      method(1, "basic.consume", { queue: "tx", consumerTag: "c" }),
    );
    while (attacker.received < count * 40) await pause(50);
    siege.begin();
    const pair = concat([
      method(1, "basic.ack", { deliveryTag: 0, multiple: true }),
      method(1, "tx.rollback"),
    ]);
    while (!siege.isOver) {
      const before = attacker.received;
      await attacker.send(concat(Array(100).fill(pair)));
      while (attacker.received === before && !siege.isOver) await pause(10);
    }
  },
};

const TRANSACTIONS: Attack = {
  name: "transactions of 20,000 publishes",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "tx", durable: true });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
    const piece = publishes(5_000, { routingKey: "tx" }, { deliveryMode: 2 });
    while (!siege.isOver) {
      for (let n = 0; n < 4; n++) await attacker.send(piece);
      await attacker.send(method(1, "tx.commit"));
    }
  },
};

const REQUEUES: Attack = {
  name: "nacks of 100,000 that go back, again and again",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "n", durable: true });
    const count = siege.size(100_000, 20_000);
    await fill(siege, "n", count, { deliveryMode: 2 });
    const attacker = await siege.attacker();
    await attacker.send(
      method(1, "channel.open"),
      method(1, "basic.consume", { queue: "n", consumerTag: "c" }),
    );
    siege.begin();
    while (!siege.isOver) {
      await attacker.send(
        method(1, "basic.nack", { deliveryTag: 0, multiple: true, requeue: true }),
      );
      await attacker.send(method(1, "basic.recover", { requeue: true }));
      await pause(5);
    }
  },
};

const UNEVEN_REQUEUES: Attack = {
  name: "every other one of 100,000 of a quorum queue goes back, then all",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const args = { "x-queue-type": "quorum" };
    await channel.call("queue.declare", { queue: "n", durable: true, arguments: args });
    const count = siege.size(100_000, 10_000);
    await fill(siege, "n", count, { deliveryMode: 2 });
    const attacker = await siege.attacker();
    const every2nd = Array.from({ length: count / 2 }, (_, n) => {
      return method(1, "basic.nack", { deliveryTag: 1 + 2 * n, requeue: true });
    });
    const requeues = concat(every2nd);
    siege.begin();
    while (!siege.isOver) {
      const enough = attacker.received + count * 40;
      await attacker.send(
        method(1, "channel.open"),
        method(1, "basic.consume", { queue: "n", consumerTag: "c" }),
      );
      while (attacker.received < enough && !siege.isOver) await pause(20);
      await attacker.send(requeues, method(1, "channel.close", { replyCode: 200 }));
      await pause(20);
    }
  },
};

const GETS: Attack = {
  name: "basic.get without end",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "g" });
    siege.begin();
    const gets = Array(5_000).fill(method(1, "basic.get", { queue: "g" }));
    const piece = concat(gets);
    const attackers = await Promise.all(Array.from({ length: 5 }, () => siege.attacker()));
    await Promise.all(attackers.map(async (attacker) => {
      await attacker.send(method(1, "channel.open"));
      while (!siege.isOver) await attacker.send(piece);
    }));
  },
};

const SLOW_READERS: Attack = {
  name: "consumers that do not read",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
    for (let n = 0; n < 30; n++) {
      await channel.call("queue.declare", { queue: `s${n}`, autoDelete: true });
      await channel.call("queue.bind", { queue: `s${n}`, exchange: "all" });
      const attacker = await siege.attacker(false);
      await attacker.send(
        method(1, "channel.open"),
        method(1, "basic.consume", { queue: `s${n}`, consumerTag: "c", noAck: true }),
      );
    }
    siege.begin();
    const body = new Uint8Array(10_000);
    for (let n = 0; !siege.isOver; n++) {
      await channel.publish({ exchange: "all" }, body);
      if (n % 50 === 0) await pause(1);
    }
  },
};

const LARGE_UNREAD: Attack = {
  name: "consumers that do not read large bodies",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "large", durable: true });
    await channel.call("confirm.select");
    const bytes = siege.size(1_000_000, 4_000_000);
    const crowd = siege.size(300, 15);
    const body = new Uint8Array(bytes);
    for (let n = 0; n < siege.size(800, 30); n++) {
      await channel.publish({ routingKey: "large" }, body, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
    siege.begin();
    for (let n = 0; n < crowd && !siege.isOver; n++) {
      const attacker = await siege.attacker(false);
      await attacker.send(
        method(1, "channel.open"),
        method(1, "basic.consume", { queue: "large", consumerTag: "c" }),
      );
    }
    await siege.over;
  },
};

const GETS_UNREAD: Attack = {
  name: "basic.get of 200 KB by 200 connections that do not read",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "large", durable: true });
    await channel.call("confirm.select");
    const body = new Uint8Array(200_000);
    for (let n = 0; n < siege.size(3_000, 300); n++) {
      await channel.publish({ routingKey: "large" }, body, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
    siege.begin();
    const gets = Array(50).fill(method(1, "basic.get", { queue: "large", noAck: true }));
    for (let n = 0; n < siege.size(200, 20) && !siege.isOver; n++) {
      const attacker = await siege.attacker(false);
      await attacker.send(method(1, "channel.open"), ...gets);
    }
    await siege.over;
  },
};

const ANSWERS_UNREAD: Attack = {
  name: "300 connections that ask without end and read no answer",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const queue = "q".repeat(200);
    await channel.call("queue.declare", { queue });
    const attackers: Attacker[] = [];
    for (let n = 0; n < siege.size(300, 30); n++) {
      const attacker = await siege.attacker(false);
      await attacker.send(method(1, "channel.open"));
      attackers.push(attacker);
    }
    const asks = concat(Array(1_000).fill(method(1, "queue.declare", { queue, passive: true })));
    siege.begin();
    await Promise.all(attackers.map(async (attacker) => {
      while (!siege.isOver) await attacker.send(asks);
    }));
  },
};

export const CONSUMERS: readonly Attack[] = [
  CONSUMERS_CLOSE,
  BUSY_CONSUMERS,
  ROLLBACKS,
  TRANSACTIONS,
  REQUEUES,
  UNEVEN_REQUEUES,
  GETS,
  SLOW_READERS,
  LARGE_UNREAD,
  GETS_UNREAD,
  ANSWERS_UNREAD,
];
