/** Attacks by coming and going: connections, channels, queues. */
import { concat, method } from "../broker/strangers.ts";
import { fill, publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const QUEUES_DELETED: Attack = {
  name: "30,000 durable queues deleted",
  async run(siege) {
    const count = siege.size(30_000, 3_000);
    const peer = await siege.peer();
    const channel = await peer.open();
    const declares = Array.from({ length: count }, (_, n) => {
      return method(1, "queue.declare", { queue: `q${n}`, durable: true, noWait: true });
    });
    // A lane comes with the first message.
    const first = Array.from({ length: count }, (_, n) => {
      return publishes(1, { routingKey: `q${n}` }, { deliveryMode: 2 });
    });
    await peer.sendBytes(concat([...declares, ...first]));
    await channel.call("confirm.select");
    siege.begin();
    const attacker = await siege.attacker();
    const deletes = Array.from({ length: count }, (_, n) => {
      return method(1, "queue.delete", { queue: `q${n}`, noWait: true });
    });
    await attacker.send(method(1, "channel.open"), ...deletes);
    await siege.over;
  },
};

const FULL_QUEUE_DELETED: Attack = {
  name: "queues of 100,000 messages purged and deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(100_000, 20_000);
    for (const queue of ["a", "b"]) {
      await channel.call("queue.declare", { queue, durable: true });
      await fill(siege, queue, count, { deliveryMode: 2 });
    }
    siege.begin();
    await channel.call("queue.purge", { queue: "a" });
    await channel.call("queue.delete", { queue: "b" });
    await siege.over;
  },
};

const CHANNELS: Attack = {
  name: "channels opened and closed without end",
  async run(siege) {
    siege.begin();
    const pairs = Array.from({ length: 1_000 }, (_, n) => {
      return concat([
        method(n + 1, "channel.open"),
        method(n + 1, "channel.close", { replyCode: 200 }),
      ]);
    });
    const piece = concat(pairs);
    const attackers = await Promise.all(Array.from({ length: 5 }, () => siege.attacker()));
    await Promise.all(attackers.map(async (attacker) => {
      while (!siege.isOver) await attacker.send(piece);
    }));
  },
};

const CONNECTIONS: Attack = {
  name: "connections that come and go",
  async run(siege) {
    siege.begin();
    const open = [
      method(1, "channel.open"),
      method(1, "queue.declare", { queue: "", exclusive: true }),
    ];
    await Promise.all(Array.from({ length: 10 }, async () => {
      while (!siege.isOver) {
        const attacker = await siege.attacker();
        await attacker.send(...open);
        attacker.close();
        await attacker.ended;
      }
    }));
  },
};

const DECLARES: Attack = {
  name: "queues declared and deleted without end",
  async run(siege) {
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const pairs = Array.from({ length: 500 }, (_, n) => {
      return concat([
        method(1, "queue.declare", { queue: `s${n}`, durable: true, noWait: true }),
        method(1, "queue.delete", { queue: `s${n}`, noWait: true }),
      ]);
    });
    const piece = concat(pairs);
    while (!siege.isOver) await attacker.send(piece);
  },
};

const SHORT_EXPIRES: Attack = {
  name: "20,000 queues that expire each millisecond, with consumers",
  async run(siege) {
    const attacker = await siege.attacker();
    const count = siege.size(20_000, 2_000);
    const declares = Array.from({ length: count }, (_, n) => {
      const queue = `x${n}`;
      return concat([
        method(1, "queue.declare", { queue, noWait: true, arguments: { "x-expires": 1 } }),
        method(1, "basic.consume", { queue, consumerTag: queue, noWait: true }),
      ]);
    });
    siege.begin();
    await attacker.send(method(1, "channel.open"), ...declares);
    await siege.over;
  },
};

const CANCELS: Attack = {
  name: "consumers that come and go without end",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    await fill(siege, "c", 10_000);
    siege.begin();
    const pairs = concat(Array.from({ length: 1_000 }, (_, n) => {
      return concat([
        method(1, "basic.consume", { queue: "c", consumerTag: `${n}`, noWait: true }),
        method(1, "basic.cancel", { consumerTag: `${n}`, noWait: true }),
        method(1, "basic.recover", { requeue: true }),
      ]);
    }));
    await Promise.all(Array.from({ length: 5 }, async () => {
      const attacker = await siege.attacker();
      await attacker.send(
        method(1, "channel.open"),
        method(1, "basic.qos", { prefetchCount: 100 }),
      );
      while (!siege.isOver) await attacker.send(pairs);
    }));
  },
};

export const STORMS: readonly Attack[] = [
  QUEUES_DELETED,
  FULL_QUEUE_DELETED,
  CHANNELS,
  CONNECTIONS,
  DECLARES,
  SHORT_EXPIRES,
  CANCELS,
];
