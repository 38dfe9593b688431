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

/** Asks again and again, and reads as fast as it can. */
async function ask(siege: Siege, path: string): Promise<void> {
  const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  while (!siege.isOver) {
    const looker = await siege.looker();
    await looker.send(new TextEncoder().encode(request));
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
        Array.from({ length: clients }, (_, n) => ask(siege, paths[n % paths.length]!)),
      );
    },
  };
}

export const LOOKERS: readonly Attack[] = [
  looking("20 who ask for /metrics", 20, ["/metrics"]),
  looking("20 who listen for events", 20, ["/api/v1/events"]),
  looking("100 who ask for all there is", 100, [
    "/metrics",
    "/api/v1/events",
    "/api/v1/overview",
    "/api/v1/queues",
  ]),
  looking("one who asks for /metrics", 1, ["/metrics"]),
  looking("one who listens for events", 1, ["/api/v1/events"]),
  looking("20 who ask for the list of queues", 20, ["/api/v1/queues"]),
];
