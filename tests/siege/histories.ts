/** Attacks by what a message carries: a header of 128 KB says much that has to be looked at. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, LOGIN, method } from "../broker/strangers.ts";
import { fanOut, publishes } from "./preparing.ts";
import type { Attack, Siege } from "./siege.ts";

const deaths = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ queue: `f${n}`, reason: "expired" }));

const ONCE = { "x-message-deduplication": true, "x-max-length": 5 };

/** A publish with headers, again and again. */
async function publishAgain(
  siege: Siege,
  args: Record<string, unknown>,
  headers: Record<string, unknown>,
): Promise<void> {
  const attacker = await siege.attacker();
  const publish = concat([method(1, "basic.publish", args), ...content(1, "x", { headers })]);
  await attacker.send(method(1, "channel.open"));
  while (!siege.isOver) {
    await attacker.send(publish);
    await pause(50);
  }
}

const SMALL_FRAMES: Attack = {
  name: "2,500 deaths in a header, to 200 consumers with small frames",
  async run(siege) {
    await fanOut(siege, siege.size(200, 50), {});
    const reader = await siege.stranger();
    const [header, startOk, , open] = LOGIN;
    const tuneOk = method(0, "connection.tune-ok", { channelMax: 2_047, frameMax: 4_096 });
    await reader.send(header!, startOk!, tuneOk, open!, method(1, "channel.open"));
    for (let n = 0; n < siege.size(200, 50); n++) {
      const consume = { queue: `f${n}`, consumerTag: `${n}`, noAck: true };
      await reader.send(method(1, "basic.consume", consume));
    }
    siege.begin();
    await publishAgain(siege, { exchange: "all" }, { "x-death": deaths(2_500) });
  },
};

const KNOWN_QUEUES: Attack = {
  name: "letters that died in all of 2,500 queues of a fanout",
  async run(siege) {
    const channel = await fanOut(siege, 2_500, { arguments: { "x-max-length": 5 } });
    const args = { "x-message-ttl": 0, "x-dead-letter-exchange": "all" };
    await channel.call("queue.declare", { queue: "source", arguments: args });
    siege.begin();
    await publishAgain(siege, { routingKey: "source" }, { "x-death": deaths(2_500).reverse() });
  },
};

const MANY_HEADERS: Attack = {
  name: "9,000 headers, to 250 queues without duplicates",
  async run(siege) {
    await fanOut(siege, 250, { arguments: ONCE });
    siege.begin();
    const headers = Object.fromEntries(Array.from({ length: 9_000 }, (_, n) => [`k${n}`, true]));
    await publishAgain(siege, { exchange: "all" }, headers);
  },
};

const LONG_WAY: Attack = {
  name: "9,000 further keys that die in 150 queues one after another",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(150, 50);
    for (let n = 0; n <= count; n++) {
      const args = { "x-message-ttl": 0, "x-dead-letter-exchange": `e${n + 1}` };
      await channel.call("exchange.declare", { exchange: `e${n}`, type: "fanout" });
      await channel.call("queue.declare", { queue: `q${n}`, durable: true, arguments: args });
      await channel.call("queue.bind", { queue: `q${n}`, exchange: `e${n}` });
    }
    siege.begin();
    const CC = Array.from({ length: 9_000 }, (_, n) => `${n}`);
    const headers = { CC };
    await channel.publish({ exchange: "e0" }, "x", { deliveryMode: 2, headers });
    await siege.over;
  },
};

const RETURNS: Attack = {
  name: "transactions that come back to connections that do not read",
  async run(siege) {
    const publish = concat([
      method(1, "basic.publish", { exchange: "amq.direct", mandatory: true }),
      ...content(1, "x".repeat(10_000)),
    ]);
    const piece = concat(Array(100).fill(publish));
    siege.begin();
    for (let n = 0; n < siege.size(12, 4) && !siege.isOver; n++) {
      const attacker = await siege.attacker(false);
      await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
      for (let n = 0; n < 100 && !siege.isOver; n++) await attacker.send(piece);
      await attacker.send(method(1, "tx.commit"));
    }
    await siege.over;
  },
};

const SMALL_RETURNS: Attack = {
  name: "20 bytes that come back, to 300 new connections that do not read",
  async run(siege) {
    const publish = concat([
      method(1, "basic.publish", { exchange: "amq.direct", mandatory: true }),
      ...content(1, "x".repeat(20)),
    ]);
    const piece = concat(Array(10_000).fill(publish));
    siege.begin();
    while (!siege.isOver) {
      const crowd = await Promise.all(
        Array.from({ length: siege.size(300, 30) }, () => siege.attacker(false)),
      );
      for (const attacker of crowd) attacker.send(method(1, "channel.open"), piece);
      // It does not get rid of all: they are not read, either.
      await Promise.race([siege.over, pause(2_000)]);
      for (const attacker of crowd) attacker.close();
    }
  },
};

const TRANSACTIONS: Attack = {
  name: "transactions of 800 publishes with 2,500 deaths to a queue without duplicates",
  async run(siege) {
    await fanOut(siege, 1, { arguments: ONCE });
    siege.begin();
    const attacker = await siege.attacker();
    const headers = { "x-deduplication-header": "key", "x-death": deaths(2_500) };
    const publish = concat([
      method(1, "basic.publish", { routingKey: "f0" }),
      ...content(1, "x", { headers }),
    ]);
    await attacker.send(method(1, "channel.open"), method(1, "tx.select"));
    while (!siege.isOver) {
      for (let n = 0; n < siege.size(800, 100) && !siege.isOver; n++) await attacker.send(publish);
      await attacker.send(method(1, "tx.commit"));
    }
  },
};

const BINDINGS: Attack = {
  name: "3,000 bindings of a headers exchange, with 30 headers each",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", arguments: { "x-max-length": 10 } });
    const named = (value: string) =>
      Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`k${n}`, value]));
    for (let n = 0; n < siege.size(3_000, 500); n++) {
      const args = { "x-match": "any", ...named(`${n}`.repeat(20)) };
      const bind = { queue: "h", exchange: "amq.headers", arguments: args, noWait: true };
      await channel.send("queue.bind", bind);
    }
    await channel.call("queue.declare", { queue: "h", passive: true });
    siege.begin();
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    const headers = named("v".repeat(80));
    const piece = publishes(20, { exchange: "amq.headers" }, { headers });
    while (!siege.isOver) await attacker.send(piece);
  },
};

/** Each publish has all that the bindings want but one header. */
const WIDE_BINDINGS: Attack = {
  name: "30 bindings of a headers exchange, with 10,000 headers each",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", arguments: { "x-max-length": 10 } });
    const headers = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`k${n}`, true]));
    for (let n = 0; n < siege.size(30, 10); n++) {
      const args = { ...headers, [`n${n}`]: true };
      await channel.call("queue.bind", { queue: "h", exchange: "amq.headers", arguments: args });
    }
    siege.begin();
    const piece = publishes(5, { exchange: "amq.headers" }, { headers });
    await Promise.all(Array.from({ length: siege.size(300, 3) }, async () => {
      const attacker = await siege.attacker();
      await attacker.send(method(1, "channel.open"));
      while (!siege.isOver) await attacker.send(piece);
    }));
  },
};

export const HISTORIES: readonly Attack[] = [
  ...[SMALL_FRAMES, KNOWN_QUEUES, MANY_HEADERS, LONG_WAY],
  ...[RETURNS, SMALL_RETURNS, TRANSACTIONS, BINDINGS, WIDE_BINDINGS],
];
