/** Attacks by what one end causes: of a connection, of a queue, of a transaction. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, method } from "../broker/strangers.ts";
import { fill, holder, publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const PERSISTENT = { deliveryMode: 2 };

/** @param type of the queue */
const holdersCut = (type: string): Attack => ({
  name: `connections cut that hold 190,000 deliveries of a ${type} queue`,
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const args = { "x-queue-type": type };
    await channel.call("queue.declare", { queue: "h", durable: true, arguments: args });
    const count = siege.size(190_000, 30_000);
    await fill(siege, "h", count, PERSISTENT);
    let attacker = await holder(siege, "h", count);
    siege.begin();
    while (!siege.isOver) {
      await pause(300);
      attacker.close();
      attacker = await holder(siege, "h", count);
    }
  },
});

const MANY_HELD: Attack = {
  name: "a connection cut that wants 570,000 deliveries on 3 channels",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", durable: true });
    const count = siege.size(570_000, 60_000);
    await fill(siege, "h", count, PERSISTENT);
    const attacker = await siege.attacker();
    for (let number = 1; number <= 3; number++) {
      await attacker.send(
        method(number, "channel.open"),
        method(number, "basic.consume", { queue: "h", consumerTag: "c" }),
      );
    }
    // It does not get all.
    while (attacker.received < Math.min(count, 290_000) * 40) await pause(20);
    siege.begin();
    await pause(500);
    attacker.close();
    await siege.over;
  },
};

const RETURNED_PURGED: Attack = {
  name: "a queue of 190,000 that came back is purged, another deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(190_000, 30_000);
    for (const queue of ["a", "b"]) {
      await channel.call("queue.declare", { queue, durable: true });
      await fill(siege, queue, count, PERSISTENT);
      const attacker = await holder(siege, queue, count);
      attacker.close();
    }
    let ready = 0;
    while (ready < count) {
      ready = (await channel.call("queue.declare", { queue: "b", passive: true })).messageCount;
    }
    siege.begin();
    await pause(500);
    await channel.call("queue.purge", { queue: "a" });
    await pause(500);
    await channel.call("queue.delete", { queue: "b" });
    await siege.over;
  },
};

const ACKS_COMMITTED: Attack = {
  name: "a transaction that acknowledges 190,000",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(190_000, 30_000);
    await channel.call("queue.declare", { queue: "a", durable: true });
    await fill(siege, "a", count, PERSISTENT);
    const attacker = await holder(siege, "a", count);
    siege.begin();
    await pause(500);
    await attacker.send(
      method(1, "basic.ack", { deliveryTag: 0, multiple: true }),
      method(1, "tx.commit"),
    );
    await siege.over;
  },
};

const LARGEST_TRANSACTIONS: Attack = {
  name: "transactions of 39,000 publishes, of which no more may be",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", {
      queue: "t",
      durable: true,
      arguments: { "x-max-length": 400_000 },
    });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
    const piece = publishes(13_000, { routingKey: "t" }, PERSISTENT);
    while (!siege.isOver) {
      for (let n = 0; n < siege.size(3, 1) && !siege.isOver; n++) await attacker.send(piece);
      await attacker.send(method(1, "tx.commit"));
    }
  },
};

const BINDINGS_DELETED: Attack = {
  name: "a queue with 50,000 bindings is deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "b", durable: true });
    const attacker = await siege.attacker();
    const binds = Array.from({ length: siege.size(50_000, 5_000) }, (_, n) => {
      return method(1, "queue.bind", {
        queue: "b",
        exchange: "amq.topic",
        routingKey: `a.${n}.#`,
        noWait: true,
      });
    });
    await attacker.send(method(1, "channel.open"), ...binds);
    const before = attacker.received;
    await attacker.send(method(1, "queue.bind", { queue: "b", exchange: "amq.fanout" }));
    while (attacker.received === before) await pause(20);
    siege.begin();
    await pause(1_000);
    await channel.call("queue.delete", { queue: "b" });
    await siege.over;
  },
};

const EXCLUSIVE_QUEUES: Attack = {
  name: "a connection with 10,000 queues ends while letters die",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
    for (let n = 0; n < 10; n++) {
      const args = { "x-max-length": 0, "x-dead-letter-exchange": "all" };
      await channel.call("queue.declare", { queue: `d${n}`, arguments: args });
      await channel.call("queue.bind", { queue: `d${n}`, exchange: "all" });
    }
    const count = siege.size(10_000, 1_000);
    const attacker = await siege.attacker();
    const declares = Array.from({ length: count }, (_, n) => {
      return method(1, "queue.declare", { queue: `e${n}`, exclusive: true, noWait: true });
    });
    await attacker.send(method(1, "channel.open"), ...declares);
    const before = attacker.received;
    await attacker.send(method(1, "basic.qos", { prefetchCount: 1 }));
    while (attacker.received === before) await pause(20);
    siege.begin();
    await pause(500);
    await channel.publish({ exchange: "all" }, "x");
    await pause(100);
    attacker.close();
    await siege.over;
  },
};

const CONSUMERS_DELETED: Attack = {
  name: "a queue with 40,000 consumers is deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    const count = siege.size(40_000, 5_000);
    const consumes = Array.from({ length: count }, (_, tag) => {
      return method(1, "basic.consume", { queue: "c", consumerTag: `${tag}`, noWait: true });
    });
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"), ...consumes);
    let consumerCount = 0;
    while (consumerCount < count) {
      ({ consumerCount } = await channel.call("queue.declare", { queue: "c", passive: true }));
      await pause(50);
    }
    siege.begin();
    await pause(500);
    await channel.call("queue.delete", { queue: "c" });
    await siege.over;
  },
};

const AUTO_DELETE: Attack = {
  name: "20,000 auto-delete queues, whose consumers go at once",
  async run(siege) {
    siege.begin();
    while (!siege.isOver) {
      const attacker = await siege.attacker();
      const count = siege.size(20_000, 2_000);
      const declares = Array.from({ length: count }, (_, n) => {
        const queue = `x${n}`;
        return concat([
          method(1, "queue.declare", { queue, durable: true, autoDelete: true, noWait: true }),
          method(1, "queue.bind", {
            queue,
            exchange: "amq.topic",
            routingKey: `${n}.#`,
            noWait: true,
          }),
          publishes(1, { routingKey: queue }, PERSISTENT),
          method(1, "basic.consume", { queue, consumerTag: queue, noWait: true }),
        ]);
      });
      await attacker.send(method(1, "channel.open"), ...declares);
      while (attacker.received < count * 50 && !siege.isOver) await pause(20);
      attacker.close();
    }
  },
};

/** @param hasLetters whether they become dead letters */
function poison(name: string, hasLetters: boolean): Attack {
  return {
    name,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      const count = siege.size(190_000, 20_000);
      await channel.call("queue.declare", { queue: "dead", durable: true });
      const letters = hasLetters
        ? { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" }
        : {};
      await channel.call("queue.declare", {
        queue: "p",
        durable: true,
        arguments: { "x-queue-type": "quorum", "x-delivery-limit": 0, ...letters },
      });
      await fill(siege, "p", count, PERSISTENT);
      const attacker = await siege.attacker();
      await attacker.send(
        method(1, "channel.open"),
        method(1, "basic.consume", { queue: "p", consumerTag: "c" }),
      );
      while (attacker.received < count * 40 && !siege.isOver) await pause(20);
      siege.begin();
      await pause(500);
      attacker.close();
      await siege.over;
    },
  };
}

export const ENDINGS: readonly Attack[] = [
  holdersCut("classic"),
  holdersCut("quorum"),
  MANY_HELD,
  RETURNED_PURGED,
  ACKS_COMMITTED,
  LARGEST_TRANSACTIONS,
  BINDINGS_DELETED,
  CONSUMERS_DELETED,
  EXCLUSIVE_QUEUES,
  AUTO_DELETE,
  poison("190,000 poisonous messages, whose holder is cut", false),
  poison("190,000 poisonous messages that become dead letters", true),
];
