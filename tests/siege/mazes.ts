/** Attacks by what a publish has to look at, or an end to undo: exchanges and bindings, very many. */
import { setTimeout as pause } from "node:timers/promises";
import { concat, content, method } from "../broker/strangers.ts";
import { publishes } from "./preparing.ts";
import type { Arguments } from "../support/methods.ts";
import type { PeerChannel } from "../support/protocol_peer.ts";
import type { Attack, Siege } from "./siege.ts";

/** Sends what answers to nobody, and waits until it is done. */
async function define(channel: PeerChannel, parts: readonly Uint8Array[]): Promise<void> {
  await channel.peer.sendBytes(concat(parts));
  await channel.call("basic.qos", {});
}

/** Publishes of one byte with other keys each time, none of which is known from before. */
async function publishByKeys(
  siege: Siege,
  exchange: string,
  key: (n: number) => string,
): Promise<void> {
  const attacker = await siege.attacker();
  await attacker.send(method(1, "channel.open"));
  for (let n = 0; !siege.isOver;) {
    const piece = Array.from({ length: 50 }, () => {
      const publish = method(1, "basic.publish", { exchange, routingKey: key(n++) });
      return concat([publish, ...content(1, "x")]);
    });
    await attacker.send(...piece);
  }
}

/** A queue with so many bindings. */
async function bindMany(
  siege: Siege,
  count: number,
  binding: (n: number) => Arguments,
): Promise<void> {
  const channel = await (await siege.peer()).open();
  await channel.call("queue.declare", { queue: "q", arguments: { "x-max-length": 10 } });
  const binds = Array.from({ length: count }, (_, n) => {
    return method(1, "queue.bind", { queue: "q", noWait: true, ...binding(n) });
  });
  await define(channel, binds);
}

/** Exchanges e0, e1 and so on, each bound to the next one. */
function chain(count: number, declaration: Record<string, unknown>): Uint8Array[] {
  return Array.from({ length: count }, (_, n) => {
    const exchange = `e${n}`;
    return concat([
      method(1, "exchange.declare", { exchange, type: "fanout", noWait: true, ...declaration }),
      ...n === 0 ? [] : [
        method(1, "exchange.bind", { source: `e${n - 1}`, destination: exchange, noWait: true }),
      ],
    ]);
  });
}

function longChain(name: string, connections: number): Attack {
  return {
    name,
    async run(siege) {
      const channel = await (await siege.peer()).open();
      await define(channel, chain(siege.size(50_000, 2_000), {}));
      siege.begin();
      await Promise.all(
        Array.from(
          { length: connections },
          (_, one) => publishByKeys(siege, "e0", (n) => `${one}.${n}`),
        ),
      );
    },
  };
}

const FALLING_CHAIN: Attack = {
  name: "a chain of 40,000 durable auto-delete exchanges falls",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(40_000, 2_000);
    siege.begin();
    while (!siege.isOver) {
      await define(channel, chain(count, { autoDelete: true, durable: true }));
      await pause(500);
      await channel.call("exchange.delete", { exchange: `e${count - 1}` });
    }
  },
};

const MANY_WAYS: Attack = {
  name: "60,000 bindings between a fanout and a queue, and always other keys",
  async run(siege) {
    await bindMany(siege, siege.size(60_000, 3_000), (n) => {
      return { exchange: "amq.fanout", routingKey: `${n}` };
    });
    siege.begin();
    await publishByKeys(siege, "amq.fanout", (n) => `${n}`);
  },
};

const MANY_PATTERNS: Attack = {
  name: "10,000 patterns of 60 words, and always other keys",
  async run(siege) {
    await bindMany(siege, siege.size(10_000, 500), (n) => {
      const words = Array.from({ length: 60 }, (_, at) => (n >> (at % 14)) & 1 ? "#" : "a");
      return { exchange: "amq.topic", routingKey: `#.${words.join(".")}.z${n}` };
    });
    siege.begin();
    const start = Array(120).fill("a").join(".");
    await publishByKeys(siege, "amq.topic", (n) => `${start}.z${n}`);
  },
};

const KEYS_TO_HEADERS: Attack = {
  name: "4,000 further keys, to 30,000 bindings of a headers exchange",
  async run(siege) {
    await bindMany(siege, siege.size(30_000, 1_000), (n) => {
      return { exchange: "amq.headers", arguments: { "x-match": "any", k: n } };
    });
    siege.begin();
    const attacker = await siege.attacker();
    const headers = { k: 7, CC: Array.from({ length: 4_000 }, (_, n) => `${n}`) };
    const publish = concat([
      method(1, "basic.publish", { exchange: "amq.headers" }),
      ...content(1, "x", { headers }),
    ]);
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) await attacker.send(publish);
  },
};

const MANY_SOURCES: Attack = {
  name: "a queue that 40,000 durable exchanges lead to is deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    const count = siege.size(40_000, 2_000);
    const binds = Array.from({ length: count }, (_, n) => {
      const exchange = `e${n}`;
      return concat([
        method(1, "exchange.declare", { exchange, type: "fanout", durable: true, noWait: true }),
        method(1, "queue.bind", { queue: "q", exchange, noWait: true }),
      ]);
    });
    await channel.call("queue.declare", { queue: "q", durable: true });
    await define(channel, binds);
    siege.begin();
    await pause(500);
    await channel.call("queue.delete", { queue: "q" });
    await siege.over;
  },
};

const EXCHANGE_DELETED: Attack = {
  name: "an exchange with 80,000 durable bindings is deleted",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("exchange.declare", { exchange: "e", type: "topic", durable: true });
    const binds = Array.from({ length: siege.size(80_000, 4_000) }, (_, n) => {
      return method(1, "queue.bind", {
        queue: "q",
        exchange: "e",
        routingKey: `${n}`,
        noWait: true,
      });
    });
    await define(channel, binds);
    siege.begin();
    await pause(500);
    await channel.call("exchange.delete", { exchange: "e" });
    await siege.over;
  },
};

const TABLES: Attack = {
  name: "20,000 bindings by a small table, and a large one in a header",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "h", arguments: { "x-max-length": 10 } });
    const binds = Array.from({ length: siege.size(20_000, 10_000) }, (_, n) => {
      const args = { "x-match": "any", k: { n } };
      return method(1, "queue.bind", {
        queue: "h",
        exchange: "amq.headers",
        arguments: args,
        noWait: true,
      });
    });
    await define(channel, binds);
    siege.begin();
    const k = Object.fromEntries(Array.from({ length: 6_000 }, (_, n) => [`k${n}`, "v"]));
    const attacker = await siege.attacker();
    await attacker.send(method(1, "channel.open"));
    while (!siege.isOver) {
      await attacker.send(publishes(1, { exchange: "amq.headers" }, { headers: { k } }));
      await pause(500);
    }
  },
};

const TAILS: Attack = {
  name: "12,000 patterns that nearly match at each place, by fifteen connections",
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "q", arguments: { "x-max-length": 10 } });
    const run = Array(60).fill("a").join(".");
    const binds = Array.from({ length: siege.size(12_000, 1_000) }, (_, n) => {
      return method(1, "queue.bind", {
        queue: "q",
        exchange: "amq.topic",
        routingKey: `#.${run}.b${n}.#`,
        noWait: true,
      });
    });
    await define(channel, binds);
    siege.begin();
    const start = Array(120).fill("a").join(".");
    await Promise.all(
      Array.from(
        { length: 15 },
        (_, one) => publishByKeys(siege, "amq.topic", (n) => `${start}.${one}.${n}`),
      ),
    );
  },
};

export const MAZES: readonly Attack[] = [
  TABLES,
  MANY_PATTERNS,
  FALLING_CHAIN,
  KEYS_TO_HEADERS,
  longChain("a chain of 50,000 exchanges", 1),
  longChain("a chain of 50,000 exchanges, by fifteen connections", 15),
  MANY_WAYS,
  EXCHANGE_DELETED,
  MANY_SOURCES,
  TAILS,
];
