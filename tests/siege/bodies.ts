/** Attacks by bodies so large that one of them is much for the broker. */
import { setTimeout as pause } from "node:timers/promises";
import { encodeFrame, encodeHeader, FRAME } from "../support/methods.ts";
import { method } from "../broker/strangers.ts";
import type { Attack, Siege } from "./siege.ts";

/** Bytes of a frame, and how many make about 1 MB. */
const PIECE_BYTES = 125_000;
const PIECES = 8;
const PIECE = encodeFrame(FRAME.body, 1, new Uint8Array(PIECE_BYTES).fill(7));

/** @param properties of each */
async function publishBodies(
  siege: Siege,
  megabytes: number,
  isOver: (published: number) => boolean,
  properties: Record<string, unknown> = { deliveryMode: 2 },
): Promise<void> {
  const publisher = await siege.attacker();
  await publisher.send(method(1, "channel.open"), method(1, "confirm.select"));
  const pieces = PIECES * megabytes;
  for (let n = 0; !isOver(n); n++) {
    await publisher.send(
      method(1, "basic.publish", { routingKey: "large" }),
      encodeFrame(FRAME.header, 1, encodeHeader(pieces * PIECE_BYTES, properties)),
    );
    for (let sent = 0; sent < pieces && !siege.isOver; sent++) await publisher.send(PIECE);
  }
}

async function consume(siege: Siege): Promise<void> {
  const consumer = await siege.attacker();
  await consumer.send(
    method(1, "channel.open"),
    method(1, "basic.consume", { queue: "large", consumerTag: "c", noAck: true }),
  );
}

async function declare(siege: Siege, args: Record<string, unknown>): Promise<void> {
  const channel = await (await siege.peer()).open();
  await channel.call("queue.declare", { queue: "large", durable: true, arguments: args });
  await channel.call("queue.declare", {
    queue: "dead",
    durable: true,
    arguments: { "x-max-length": 3 },
  });
}

function published(megabytes: number): Attack {
  return {
    name: `bodies of ${megabytes} MB, of which a queue keeps three`,
    async run(siege) {
      await declare(siege, {
        "x-max-length": 3,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
      });
      siege.begin();
      await publishBodies(siege, siege.size(megabytes, 8), () => siege.isOver);
    },
  };
}

function passed(megabytes: number, properties?: Record<string, unknown>): Attack {
  const kind = properties === undefined ? "" : "transient ";
  return {
    name: `${kind}bodies of ${megabytes} MB, published and consumed`,
    async run(siege) {
      await declare(siege, { "x-max-length": 3 });
      await consume(siege);
      siege.begin();
      await publishBodies(siege, siege.size(megabytes, 8), () => siege.isOver, properties);
    },
  };
}

function kept(megabytes: number, properties: Record<string, unknown>): Attack {
  return {
    name: `transient bodies of ${megabytes} MB, of which a queue keeps three`,
    async run(siege) {
      await declare(siege, { "x-max-length": 3 });
      siege.begin();
      await publishBodies(siege, siege.size(megabytes, 8), () => siege.isOver, properties);
    },
  };
}

function read(megabytes: number): Attack {
  return {
    name: `six bodies of ${megabytes} MB, read again and again`,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      await channel.call("queue.declare", { queue: "large", durable: true });
      await publishBodies(siege, siege.size(megabytes, 8), (count) => count === 6);
      for (let count = 0; count < 6;) {
        const { messageCount } = await channel.call("queue.declare", {
          queue: "large",
          passive: true,
        });
        count = messageCount;
      }
      siege.begin();
      while (!siege.isOver) {
        const reader = await siege.attacker();
        await reader.send(
          method(1, "channel.open"),
          method(1, "basic.consume", { queue: "large", consumerTag: "c" }),
        );
        await pause(1_500);
        reader.close();
      }
    },
  };
}

const CROWD: Attack = {
  name: "bodies of 120 MB of six publishers at a time",
  async run(siege) {
    await declare(siege, { "x-max-length": 3 });
    siege.begin();
    const megabytes = siege.size(120, 8);
    await Promise.all(
      Array.from({ length: 6 }, () => publishBodies(siege, megabytes, () => siege.isOver)),
    );
  },
};

const TRANSIENT = {};

export const BODIES: readonly Attack[] = [
  published(120),
  passed(120),
  read(120),
  CROWD,
  kept(120, TRANSIENT),
  passed(120, TRANSIENT),
  ...[1, 5, 30].flatMap((megabytes) => [published(megabytes), passed(megabytes), read(megabytes)]),
];
