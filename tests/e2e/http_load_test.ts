/**
 * `new_task --http` under load, through the end of its connection or of its broker: what was
 * answered with 202 is on the queue. `deno task siege:http` is the long form, and prints times.
 */
import { AMQPClient } from "@cloudamqp/amqp-client";
import { assert, assertEquals } from "@std/assert";
import { brokerTest, sharedNode, startNode } from "../support/broker.ts";
import { installed, spawn } from "../support/process.ts";
import { Proxy } from "../support/proxy.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { Front } from "./http_front.ts";
import { onChannel } from "./queue_view.ts";

/** Seconds of load; from 5 on the broker is killed and started again, and times are compared. */
const SECONDS = Number(Deno.env.get("HTTP_SECONDS") ?? 1);
const IS_LONG = SECONDS >= 5;
const CONNECTIONS = 32;
const SIEGE_MS = SECONDS * 1_000 + 120_000;

const LOAD = new URL("web/load.lua", import.meta.url).pathname;

interface Load {
  readonly accepted: number;
  readonly refused: number;
  /** Microseconds, of all requests. */
  readonly p50: number;
  readonly p99: number;
}

async function load(front: Front, seconds: number): Promise<Load> {
  await using wrk = spawn("wrk", {
    args: [
      ...["--threads", "2", "--connections", String(CONNECTIONS), "--timeout", "30s"],
      ...["--duration", `${seconds}s`, "--script", LOAD, front.url],
    ],
  });
  const { stdout, code } = await wrk.ended(SIEGE_MS);
  assertEquals(code, 0, stdout);
  const [, ...numbers] = /accepted (\d+) refused (\d+) p50 (\d+) p99 (\d+)/.exec(stdout)!;
  const [accepted, refused, p50, p99] = numbers.map(Number) as [number, number, number, number];
  return { accepted, refused, p50, p99 };
}

/** The ids on a queue, with how often each is there; they stay there. */
async function idsOn(url: string, queue: string, least: number): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  // RabbitMQ may fail (541) who asks a queue that has only just come back.
  await waitUntil(`${least} tasks`, async () => {
    ids.clear();
    await onChannel(url, async (channel) => {
      // Without a number a quorum queue of RabbitMQ gives a consumer 2,000, and then waits.
      await channel.basicQos(65_535);
      await channel.basicConsume(queue, { noAck: false }, ({ properties }) => {
        ids.set(properties.messageId!, (ids.get(properties.messageId!) ?? 0) + 1);
      });
      await waitUntil(`${least} tasks`, () => ids.size >= least);
    });
    return true;
  }, SIEGE_MS);
  return ids;
}

async function confirmedBy(front: Front): Promise<number> {
  const { text } = await front.ask("/metrics");
  return Number(/^workqueue_http_tasks_confirmed_total (\d+)$/m.exec(text)![1]);
}

/** Median and 99th percentile of publish and confirm, as many at a time as wrk has connections. */
async function confirmsOverAmqp(url: string, queue: string, seconds: number) {
  const connection = await new AMQPClient(url).connect();
  const channel = await connection.channel();
  await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
  await channel.confirmSelect();
  const times: number[] = [];
  const end = performance.now() + seconds * 1_000;
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (performance.now() < end) {
      const start = performance.now();
      await channel.basicPublish("", queue, "x".repeat(100), { deliveryMode: 2 });
      times.push((performance.now() - start) * 1_000);
    }
  }));
  await channel.queueDelete(queue);
  await connection.close();
  times.sort((a, b) => a - b);
  const at = (part: number) => Math.round(times[Math.floor(times.length * part)]!);
  return { count: times.length, p50: at(0.5), p99: at(0.99) };
}

function loadTest(name: string, fn: () => Promise<void>): void {
  if (installed("wrk")) brokerTest(name, fn);
  else Deno.test.ignore(`${name} (ignored: wrk is not installed)`, fn);
}

loadTest(
  "every task that was answered with 202 is on the queue, once where nothing broke",
  async () => {
    await using own = IS_LONG ? await startNode() : undefined;
    const node = own ?? await sharedNode();
    await using proxy = await Proxy.start(node.port);
    const queue = uniqueName("http-load");
    // A quorum queue of RabbitMQ 3.10 that is killed soon after it was made may stay without a leader.
    const type = own === undefined ? "quorum" : "classic";
    const options = ["--timeout", "2s", "--queue-type", type];
    await using front = await Front.start(options, { url: proxy.url, queue });
    let isDisturbed = false;
    const disturbed = (async () => {
      await waitUntil("the load", async () => await confirmedBy(front) >= 50, SIEGE_MS);
      isDisturbed = true;
      if (own === undefined) return await proxy.cut();
      await own.kill();
      await own.start();
    })();
    let [accepted, refused, runs] = [0, 0, 0];
    // On a busy machine the first seconds may be over before that.
    for (; runs === 0 || !isDisturbed; runs++) {
      const more = await load(front, SECONDS);
      accepted += more.accepted;
      refused += more.refused;
    }
    await disturbed;
    // A queue that has no leader yet leaves consumers without an answer.
    await waitUntil("the queue to take tasks", async () => {
      return (await front.post("x", { "idempotency-key": "last" })).status === 202;
    }, SIEGE_MS);
    await waitUntil("all confirms", async () => {
      return /^workqueue_http_tasks_under_way 0$/m.test((await front.ask("/metrics")).text);
    });
    const confirmed = await confirmedBy(front);
    // wrk leaves without waiting for the last answers.
    assert(
      accepted < confirmed && confirmed <= accepted + runs * CONNECTIONS + 1,
      `${accepted} ${confirmed}`,
    );
    const ids = await idsOn(node.url, queue, confirmed);
    const sentTwice = [...ids.values()].filter((count) => count > 1).length;
    // On the queue are those that were confirmed, and a few of those that were refused in doubt.
    assert(ids.size <= confirmed + refused, `${ids.size} ${confirmed} ${refused}`);
    assert(sentTwice <= CONNECTIONS, `${sentTwice} were sent twice`);
    if (IS_LONG) {
      say(`${accepted} accepted, ${refused} refused, ${confirmed} confirmed, ${ids.size} there`);
      await compareTimes(node.url, front, queue);
    }
    await front.end();
  },
);

/** Times without trouble, beside those of AMQP alone, and with clients that do nothing. */
async function compareTimes(url: string, front: Front, queue: string): Promise<void> {
  await onChannel(url, (channel) => channel.queueDelete(queue));
  const direct = await confirmsOverAmqp(url, uniqueName("http-load"), SECONDS);
  say(`AMQP: ${direct.count / SECONDS}/s, p50 ${direct.p50} us, p99 ${direct.p99} us`);
  await waitUntil("another queue", async () => (await front.post("x")).status === 202);
  const plain = await load(front, SECONDS);
  say(`HTTP: ${plain.accepted / SECONDS}/s, p50 ${plain.p50} us, p99 ${plain.p99} us`);
  const idle = await Promise.all(Array.from({ length: 200 }, () => Deno.connect(front.address)));
  const head = new TextEncoder().encode("POST /tasks HTTP/1.1\r\nHost: localhost\r\n");
  let at = 0;
  const drip = setInterval(() => {
    for (const conn of idle.slice(0, 100)) {
      conn.write(head.subarray(at, at + 1)).catch(() => {});
    }
    at++;
  }, 1_000);
  const beside = await load(front, SECONDS);
  clearInterval(drip);
  for (const conn of idle) conn.close();
  say(`beside 200: ${beside.accepted / SECONDS}/s, p50 ${beside.p50} us, p99 ${beside.p99} us`);
  assertEquals([plain.refused, beside.refused], [0, 0]);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
