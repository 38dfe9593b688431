/** Attacks by those who look: at the page, its API, its events and /metrics. */
import { concat, method } from "../broker/strangers.ts";
import type { Attack, Siege } from "./siege.ts";

/** Queues of which each has had something, so that it has a past and rates. */
async function usedQueues(siege: Siege, count: number): Promise<void> {
  const channel = await (await siege.peer()).open();
  await channel.call("exchange.declare", { exchange: "all", type: "fanout" });
  await channel.peer.sendBytes(concat(
    Array.from({ length: count }, (_, n) => {
      const queue = `some-work-of-kind-${n}`;
      return concat([
        method(1, "queue.declare", { queue, durable: true, noWait: true }),
        method(1, "queue.bind", { queue, exchange: "all", noWait: true }),
      ]);
    }),
  ));
  await channel.call("confirm.select");
  await channel.publish({ exchange: "all" }, "work");
  await channel.expect("basic.ack", 60_000);
}

const encoder = new TextEncoder();

/** @param body JSON; absent: it is a GET */
function request(path: string, body?: string): Uint8Array {
  const content = body === undefined
    ? ""
    : `Content-Type: application/json\r\nContent-Length: ${encoder.encode(body).length}\r\n`;
  const method = body === undefined ? "GET" : "POST";
  return encoder.encode(
    `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${content}\r\n${
      body ?? ""
    }`,
  );
}

/** Asks again and again, and reads as fast as it can. */
async function ask(siege: Siege, asked: Uint8Array): Promise<void> {
  while (!siege.isOver) {
    const looker = await siege.looker();
    await looker.send(asked);
    await looker.ended;
    looker.close();
  }
}

function looking(name: string, clients: number, paths: readonly string[]): Attack {
  return {
    name: `20,000 queues, and ${name}`,
    args: ["--http", "0"],
    async run(siege) {
      await usedQueues(siege, siege.size(20_000, 2_000));
      siege.begin();
      await Promise.all(
        Array.from({ length: clients }, (_, n) => ask(siege, request(paths[n % paths.length]!))),
      );
    },
  };
}

/** @param body of a request that is made again and again */
function sending(name: string, path: string, body: (siege: Siege) => string): Attack {
  return {
    name,
    args: ["--http", "0"],
    async run(siege) {
      const channel = await (await siege.peer()).open();
      await channel.call("queue.declare", { queue: "q", durable: true });
      const asked = request(`/api/v1/queues/%2F/q/${path}`, body(siege));
      siege.begin();
      await Promise.all(Array.from({ length: 2 }, () => ask(siege, asked)));
    },
  };
}

const UNREAD: Attack = {
  name: "2,500 requests each, before any answer, by 20 connections",
  args: ["--http", "0"],
  async run(siege) {
    await usedQueues(siege, siege.size(2_000, 200));
    const paths = ["/metrics", "/api/v1/overview", "/nothing", "/api/v1/queues?of=work"];
    const one = concat(
      paths.map((path) => encoder.encode(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)),
    );
    const asked = concat(Array(siege.size(625, 100)).fill(one));
    siege.begin();
    await Promise.all(Array.from({ length: 20 }, async () => {
      while (!siege.isOver) {
        const looker = await siege.looker();
        await looker.send(asked);
        await looker.ended;
        looker.close();
      }
    }));
  },
};

const NEARLY_FOUND: Attack = {
  name: "searches for what nearly matches everywhere",
  args: ["--http", "0"],
  async run(siege) {
    const channel = await (await siege.peer()).open();
    await channel.call("queue.declare", { queue: "q", durable: true });
    await channel.call("confirm.select");
    for (let n = 0; n < siege.size(20, 3); n++) {
      const body = (n % 2 === 0 ? "A" : "\\u00e4.").repeat(140_000);
      await channel.publish({ routingKey: "q" }, body, { deliveryMode: 2 });
      await channel.expect("basic.ack");
    }
    siege.begin();
    const wanted = encodeURIComponent("A".repeat(77) + "\u00e4" + "A".repeat(422));
    const asked = request(`/api/v1/search?q=${wanted}`);
    await Promise.all(Array.from({ length: 4 }, () => ask(siege, asked)));
  },
};

export const LOOKERS: readonly Attack[] = [
  sending("records of 5,000,000 lists", "messages", (siege) => {
    return `{"json":[${"[],".repeat(siege.size(5_000_000, 600_000))}1]}`;
  }),
  UNREAD,
  looking("100 who ask for all there is", 100, [
    "/metrics",
    "/api/v1/events",
    "/api/v1/overview",
    "/api/v1/queues",
  ]),
  NEARLY_FOUND,
  sending("selections of 1,000,000 keys", "drop", (siege) => {
    return JSON.stringify({ keys: Array(siege.size(1_000_000, 100_000)).fill("0-1") });
  }),
  looking("20 who ask for /metrics", 20, ["/metrics"]),
  looking("20 who listen for events", 20, ["/api/v1/events"]),
  looking("one who asks for /metrics", 1, ["/metrics"]),
  looking("one who listens for events", 1, ["/api/v1/events"]),
  looking("20 who ask for the list of queues", 20, ["/api/v1/queues"]),
  looking("400 who ask for some of them", 400, ["/api/v1/queues?of=some-work-of-kind-1"]),
];
