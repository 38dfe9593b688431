/** Attacks by contents: large, many, or never complete. */
import { setTimeout as pause } from "node:timers/promises";
import { encodeFrame, encodeHeader, FRAME } from "../support/methods.ts";
import { concat, method } from "../broker/strangers.ts";
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

export const CONTENTS: readonly Attack[] = [UNDER_WAY, PATIENCE, PUBLISHER, HEADERS, OVERFLOW];
