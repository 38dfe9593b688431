/** Attacks by how many there are of what costs a client a few bytes: channels, consumers, queues. */
import { setTimeout as pause } from "node:timers/promises";
import { encodeFrame, encodeHeader, FRAME } from "../support/methods.ts";
import { concat, content, method } from "../broker/strangers.ts";
import { publishes } from "./preparing.ts";
import type { Attack, Attacker, Siege } from "./siege.ts";

const BIND_OK_BYTES = method(1, "queue.bind-ok").length;

/** So many consumers of a queue on one channel, once they are there. */
async function consumers(
  siege: Siege,
  queue: string,
  count: number,
  args: (n: number) => Record<string, unknown> = () => ({}),
  qos: Record<string, unknown> = {},
): Promise<Attacker> {
  const attacker = await siege.attacker();
  const consumes = Array.from({ length: count }, (_, n) => {
    return method(1, "basic.consume", {
      queue,
      consumerTag: `${n}`,
      noWait: true,
      arguments: args(n),
    });
  });
  await attacker.send(method(1, "channel.open"), method(1, "basic.qos", qos), ...consumes);
  const channel = await (await siege.peer()).open();
  for (;;) {
    const { consumerCount } = await channel.call("queue.declare", { queue, passive: true });
    if (consumerCount >= count || siege.isOver) return attacker;
    await pause(50);
  }
}

const CONSUMERS_WITHOUT_END: Attack = {
  name: "consumers without end",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    siege.begin();
    while (!siege.isOver) {
      const attacker = await siege.attacker();
      for (let number = 1; number <= siege.size(20, 3) && !siege.isOver; number++) {
        const consumes = Array.from({ length: siege.size(20_000, 2_000) }, (_, n) => {
          const consumerTag = `${n}`.padEnd(200, "-");
          return method(number, "basic.consume", { queue: "c", consumerTag, noWait: true });
        });
        await attacker.send(method(number, "channel.open"), ...consumes);
      }
    }
  },
};

const CHANNELS_WITHOUT_END: Attack = {
  name: "channels without end, on 300 connections",
  async run(siege) {
    siege.begin();
    const opens = concat(
      Array.from({ length: 2_047 }, (_, n) => {
        return concat([
          method(n + 1, "channel.open"),
          method(n + 1, "confirm.select", { noWait: true }),
        ]);
      }),
    );
    for (let n = 0; n < siege.size(300, 10) && !siege.isOver; n++) {
      const attacker = await siege.attacker();
      await attacker.send(opens);
    }
    await siege.over;
  },
};

const PRIORITIES: Attack = {
  name: "20,000 consumers of as many priorities, whose connection ends",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    siege.begin();
    while (!siege.isOver) {
      const attacker = await consumers(siege, "c", siege.size(20_000, 2_000), (n) => {
        return { "x-priority": n };
      });
      attacker.close();
    }
  },
};

const SINGLE_ACTIVE: Attack = {
  name: "20,000 consumers of a single active queue, whose connection ends",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const args = { "x-single-active-consumer": true, "x-queue-type": "quorum" };
    await channel.call("queue.declare", { queue: "c", durable: true, arguments: args });
    siege.begin();
    while (!siege.isOver) {
      const attacker = await consumers(siege, "c", siege.size(20_000, 2_000));
      attacker.close();
    }
  },
};

const BUSY: Attack = {
  name: "acknowledgements one by one, with 20,000 busy consumers",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c" });
    const count = siege.size(20_000, 2_000);
    const attacker = await consumers(siege, "c", count, undefined, { prefetchCount: 1 });
    await attacker.send(publishes(count * 2, { routingKey: "c" }));
    while (attacker.received < count * 40) await pause(20);
    siege.begin();
    for (let tag = 1; !siege.isOver; tag += 1_000) {
      const acks = Array.from({ length: 1_000 }, (_, n) => {
        return method(1, "basic.ack", { deliveryTag: tag + n });
      });
      await attacker.send(...acks, publishes(1_000, { routingKey: "c" }));
      const enough = attacker.received + 20_000;
      while (attacker.received < enough && !siege.isOver) await pause(5);
    }
  },
};

const EXCLUSIVE: Attack = {
  name: "20,000 exclusive queues with bindings, whose connection ends",
  async run(siege) {
    siege.begin();
    while (!siege.isOver) {
      const attacker = await siege.attacker();
      const count = siege.size(20_000, 2_000);
      const declares = Array.from({ length: count }, (_, n) => {
        const queue = `x${n}`;
        return concat([
          method(1, "queue.declare", { queue, exclusive: true, noWait: true }),
          method(1, "queue.bind", { queue, exchange: "amq.topic", routingKey: `${n}.#` }),
        ]);
      });
      await attacker.send(method(1, "channel.open"), ...declares);
      while (attacker.received < count * BIND_OK_BYTES && !siege.isOver) await pause(20);
      attacker.close();
    }
  },
};

const UNUSED: Attack = {
  name: "15,000 durable queues that are unused for too long at one time",
  async run(siege) {
    const peer = await siege.peer();
    const channel = await peer.open();
    siege.begin();
    while (!siege.isOver) {
      const declares = Array.from({ length: siege.size(15_000, 1_500) }, (_, n) => {
        const args = { "x-expires": siege.size(5_000, 500) };
        return method(1, "queue.declare", {
          queue: `x${n}`,
          durable: true,
          arguments: args,
          noWait: true,
        });
      });
      await peer.sendBytes(concat(declares));
      await channel.call("basic.qos", {});
      await pause(siege.size(6_000, 700));
    }
  },
};

/** A message of some kilobytes for each lane of many queues. */
function firsts(name: string, queues: number, priorities: number, durable: boolean): Attack {
  return {
    name,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      const count = siege.size(queues, Math.ceil(queues / 10));
      const args = priorities > 1 ? { "x-max-priority": priorities - 1 } : {};
      const declares = Array.from({ length: count }, (_, n) => {
        return method(1, "queue.declare", {
          queue: `l${n}`,
          durable,
          noWait: true,
          arguments: args,
        });
      });
      await channel.peer.sendBytes(concat(declares));
      await channel.call("basic.qos", {});
      siege.begin();
      const attacker = await siege.attacker();
      await attacker.send(method(1, "channel.open"));
      const body = "x".repeat(15_000);
      for (let n = 0; n < count && !siege.isOver; n++) {
        for (let priority = 0; priority < priorities && !siege.isOver; priority++) {
          await attacker.send(
            method(1, "basic.publish", { routingKey: `l${n}` }),
            ...content(1, body, { priority, ...(durable ? { deliveryMode: 2 } : {}) }),
          );
        }
      }
      await siege.over;
    },
  };
}

const BUFFERS: Attack = {
  name: "6,000 connections that ask 16 KB and are answered as much, and then are still",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const queue = "q".repeat(200);
    await channel.call("queue.declare", { queue });
    siege.begin();
    const declare = method(1, "queue.declare", { queue, passive: true });
    const asks = concat([method(1, "channel.open"), ...Array(70).fill(declare)]);
    for (let n = 0; n < siege.size(6_000, 300) && !siege.isOver; n++) {
      await (await siege.attacker()).send(asks);
    }
    await siege.over;
  },
};

const HALF_CONTENTS: Attack = {
  name: "3,000 connections that each send 70 KB of a content of 130 KB, and no more",
  async run(siege) {
    siege.begin();
    const bytes = concat([
      method(1, "channel.open"),
      method(1, "basic.publish", { routingKey: "nowhere" }),
      encodeFrame(FRAME.header, 1, encodeHeader(130_000)),
      ...Array(20).fill(encodeFrame(FRAME.body, 1, new Uint8Array(3_500))),
    ]);
    for (let n = 0; n < siege.size(3_000, 300) && !siege.isOver; n++) {
      await (await siege.attacker()).send(bytes);
    }
    await siege.over;
  },
};

const HALF_FRAMES: Attack = {
  name: "3,000 connections that each send 70 KB of a frame of 130 KB, and no more",
  async run(siege) {
    siege.begin();
    const half = encodeFrame(FRAME.method, 1, new Uint8Array(130_000)).subarray(0, 70_000);
    const bytes = concat([method(1, "channel.open"), half]);
    for (let n = 0; n < siege.size(3_000, 300) && !siege.isOver; n++) {
      await (await siege.attacker()).send(bytes);
    }
    await siege.over;
  },
};

const LOGGED_IN: Attack = {
  name: "6,000 connections with a consumer each",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "c", arguments: { "x-max-length": 100 } });
    siege.begin();
    const consume = concat([
      method(1, "channel.open"),
      method(1, "basic.consume", { queue: "c", consumerTag: "c", noAck: true }),
    ]);
    for (let n = 0; n < siege.size(6_000, 300) && !siege.isOver; n++) {
      await (await siege.attacker()).send(consume);
    }
    const piece = publishes(1_000, { routingKey: "c" });
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) {
      await attacker.send(piece);
      await pause(5);
    }
  },
};

export const CROWDS: readonly Attack[] = [
  CHANNELS_WITHOUT_END,
  HALF_FRAMES,
  BUSY,
  CONSUMERS_WITHOUT_END,
  PRIORITIES,
  SINGLE_ACTIVE,
  EXCLUSIVE,
  UNUSED,
  firsts("15 KB for each of 20,000 queues", 20_000, 1, false),
  firsts("15 KB for each of 20,000 durable queues", 20_000, 1, true),
  firsts("15 KB for each priority of 100 queues", 100, 256, false),
  LOGGED_IN,
  BUFFERS,
  HALF_CONTENTS,
];
