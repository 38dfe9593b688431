/** Attacks by contents: large, many, or never complete. */
import { setTimeout as pause } from "node:timers/promises";
import { encodeFrame, encodeHeader, FRAME } from "../support/methods.ts";
import { concat, content, method } from "../broker/strangers.ts";
import { publishes } from "./preparing.ts";
import type { Attack } from "./siege.ts";

const MB = 1024 * 1024;
const PIECE = encodeFrame(FRAME.body, 1, new Uint8Array(130_000));

const UNDER_WAY: Attack = {
  name: "six contents of 100 MB under way",
  async run(siege) {
    siege.begin();
    await Promise.all(Array.from({ length: 6 }, async () => {
      const attacker = await siege.attacker();
      await attacker.send(method(1, "channel.open"));
      while (!siege.isOver) {
        const size = 800 * 130_000;
        await attacker.send(
          method(1, "basic.publish", { routingKey: "nowhere" }),
          encodeFrame(FRAME.header, 1, encodeHeader(size)),
        );
        for (let n = 0; n < 800 && !siege.isOver; n++) await attacker.send(PIECE);
      }
    }));
  },
};

const PATIENCE: Attack = {
  name: "contents on 1,199 channels, kept up by empty frames",
  async run(siege) {
    const attackers = await Promise.all([siege.attacker(), siege.attacker()]);
    siege.begin();
    await Promise.all(attackers.map(async (attacker) => {
      for (let channel = 1; channel < 1_200; channel++) {
        await attacker.send(
          method(channel, "channel.open"),
          method(channel, "basic.publish", { routingKey: "nowhere" }),
          encodeFrame(FRAME.header, channel, encodeHeader(100 * MB)),
        );
      }
      for (let n = 0; !siege.isOver; n++) {
        for (let channel = 1; channel < 1_200; channel++) {
          await attacker.send(
            encodeFrame(FRAME.body, channel, new Uint8Array(n === 0 ? 100_000 : 0)),
          );
        }
        await pause(1_000);
      }
    }));
  },
};

/** Each has next to nothing of the memory in which small contents lie, and all of it has some. */
function sprinkled(name: string, little: (channel: number) => Uint8Array[]): Attack {
  return {
    name,
    async run(siege) {
      siege.begin();
      const others = Array.from({ length: 17 }, () => [
        method(1_200, "basic.publish", { routingKey: "nowhere" }),
        ...content(1_200, "x".repeat(3_900)),
      ]);
      await Promise.all(Array.from({ length: siege.size(10, 2) }, async () => {
        const attacker = await siege.attacker();
        await attacker.send(method(1_200, "channel.open"));
        for (let channel = 1; channel < 1_200 && !siege.isOver; channel++) {
          const opened = method(channel, "channel.open");
          await attacker.send(opened, ...little(channel), ...others.flat());
        }
        await siege.last();
      }));
    },
  };
}

const UNENDED = sprinkled("small contents that never end, among others that do", (channel) => [
  method(channel, "basic.publish", { routingKey: "nowhere" }),
  encodeFrame(FRAME.header, channel, encodeHeader(1)),
]);

const ONCE = sprinkled("many channels that publish once, among others", (channel) => [
  method(channel, "basic.publish", { routingKey: "nowhere" }),
  ...content(channel, "x"),
]);

const UNCOMMITTED = sprinkled(
  "small transactions that wait, among others who do not",
  (channel) => [
    method(channel, "tx.select"),
    method(channel, "basic.publish", { routingKey: "nowhere" }),
    ...content(channel, "x"),
  ],
);

const PUBLISHER: Attack = {
  name: "a publisher without confirms",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "p", arguments: { "x-max-length": 1_000 } });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const piece = publishes(5_000, { routingKey: "p" });
    while (!siege.isOver) await attacker.send(piece);
  },
};

const HEADERS: Attack = {
  name: "huge headers, to a headers exchange",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", arguments: { "x-max-length": 10 } });
    for (let n = 0; n < 300; n++) {
      const args = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`k${at}`, n]));
      await channel.call("queue.bind", { queue: "h", exchange: "amq.headers", arguments: args });
    }
    siege.begin();
    const headers = Object.fromEntries(Array.from({ length: 6_000 }, (_, n) => [`k${n}`, "v"]));
    const piece = publishes(10, { exchange: "amq.headers" }, { headers });
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) await attacker.send(piece);
  },
};

const OVERFLOW: Attack = {
  name: "overflow of queues with priorities",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", {
      queue: "o",
      durable: true,
      arguments: {
        "x-max-length": 10,
        "x-max-priority": 255,
        "x-dead-letter-exchange": "amq.fanout",
      },
    });
    siege.begin();
    const all = Array.from({ length: 255 }, (_, priority) => {
      return publishes(10, { routingKey: "o" }, { priority, deliveryMode: 2 });
    });
    const piece = concat(all);
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) await attacker.send(piece);
  },
};

const LARGE_READ: Attack = {
  name: "bodies of 10 MB, delivered without acknowledgement, again and again",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "large", durable: true });
    await channel.call("confirm.select");
    const body = new Uint8Array(10_000_000);
    for (let n = 0; n < siege.size(30, 5); n++) {
      await channel.publish({ routingKey: "large" }, body, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
    siege.begin();
    while (!siege.isOver) {
      const attackers = await Promise.all(Array.from({ length: 4 }, () => siege.attacker()));
      for (const attacker of attackers) {
        await attacker.send(
          method(1, "channel.open"),
          method(1, "basic.consume", { queue: "large", consumerTag: "c" }),
        );
      }
      await pause(3_000);
      for (const attacker of attackers) attacker.close();
    }
  },
};

function replies(name: string, size: number): Attack {
  return {
    name,
    async run(siege) {
      const names: string[] = [];
      const channel = await (await siege.peer()).open();
      await channel.call("queue.declare", { queue: "ask" });
      for (let n = 0; n < siege.size(300, 50); n++) {
        const attacker = await siege.attacker(false);
        await attacker.send(
          method(1, "channel.open"),
          method(1, "basic.consume", {
            queue: "amq.rabbitmq.reply-to",
            consumerTag: "c",
            noAck: true,
          }),
          method(1, "basic.publish", { routingKey: "ask" }),
          ...content(1, "x", { replyTo: "amq.rabbitmq.reply-to" }),
        );
      }
      while (names.length < siege.size(300, 50)) {
        await channel.send("basic.get", { queue: "ask", noAck: true });
        const got = await channel.expectContent("basic.get-ok").catch(() => undefined);
        if (got === undefined) continue;
        names.push((got.properties as { replyTo: string }).replyTo);
      }
      siege.begin();
      const replier = await siege.attacker();
      await replier.send(method(1, "channel.open"));
      const body = new Uint8Array(size);
      const frames = [encodeFrame(FRAME.header, 1, encodeHeader(size))];
      for (let at = 0; at < size; at += 100_000) {
        frames.push(encodeFrame(FRAME.body, 1, body.subarray(at, at + 100_000)));
      }
      while (!siege.isOver) {
        for (const routingKey of names) {
          if (siege.isOver) break;
          await replier.send(method(1, "basic.publish", { routingKey }), ...frames);
        }
      }
    },
  };
}

export const CONTENTS: readonly Attack[] = [
  UNDER_WAY,
  PATIENCE,
  PUBLISHER,
  HEADERS,
  UNENDED,
  ONCE,
  UNCOMMITTED,
  OVERFLOW,
  LARGE_READ,
  replies("replies of 10 KB to 300 requesters that do not read", 10_000),
  replies("replies of 1 MB to 300 requesters that do not read", 1_000_000),
];
