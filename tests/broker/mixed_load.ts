/**
 * The broker and a worker on one host with 128 MB: tasks now and then, bodies of 10 MB among them,
 * and bursts, behind a backlog. They have the environment that docs/broker.md advises there.
 *
 *   deno task small-host:hour [SECONDS [BACKLOG]]
 */
// deno-lint-ignore-file no-console
import { setTimeout as pause } from "node:timers/promises";
import { assertEquals } from "@std/assert";
import { residentBytes } from "../support/memory.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { spawn } from "../support/process.ts";
import { diskDir, SMALL_HOST_ENV, smallHost } from "../support/small_host.ts";
import { waitUntil } from "../support/wait.ts";
import { portOf } from "./harness.ts";

const HOST_BYTES = 128 * 1024 * 1024;
const PERSISTENT = { deliveryMode: 2 };
const LARGE_BYTES = 10 * 1024 * 1024;
const WINDOW = 500;
const END_MS = 120_000;

export interface MixedLoadOptions {
  seconds: number;
  /** Tasks that wait all the time. */
  backlog: number;
  /** Seconds between two tasks, two large bodies, two bursts. */
  every: { task: number; large: number; burst: number };
  burst: number;
  say?: (sentence: string) => void;
}

export interface MixedLoadVerdict {
  /** How many processes were killed for their memory. */
  killed: number;
  tasks: number;
  large: number;
  /** Of tasks in bursts. */
  burst: number;
  /** The most that each had at any look, in bytes. */
  broker: number;
  worker: number;
}

/** @throws {AssertionError} when a task is not done in the end */
export async function mixedLoad(options: MixedLoadOptions): Promise<MixedLoadVerdict> {
  const { every, say = () => {} } = options;
  await using dir = await diskDir();
  await using host = smallHost(HOST_BYTES)!;
  const [command, ...args] = host.command("broker", ["--port", "0", "--data", dir.path]);
  await using broker = spawn(command, { args, env: SMALL_HOST_ENV, killOnDispose: true });
  const port = await portOf(broker);
  await using peer = await openPeer(port);
  const channel = await peer.open();
  for (const queue of ["waiting", "work", "burst"]) {
    await channel.call("queue.declare", { queue, durable: true });
  }
  await channel.call("confirm.select");
  let confirmed = 0;
  await publishMany(channel, "waiting", options.backlog);
  const work = ["--queue", "work", "--url", `amqp://127.0.0.1:${port}/`, "--", "wc", "-c"];
  const [runner, ...rest] = host.command("worker", work);
  await using worker = spawn(runner, { args: rest, env: SMALL_HOST_ENV, killOnDispose: true });
  await worker.waitForLine(/Waiting for messages/);

  const verdict = { killed: 0, tasks: 0, large: 0, burst: 0, broker: 0, worker: 0 };
  const began = performance.now();
  const second = () => (performance.now() - began) / 1_000;
  let [task, large, burst, look] = [0, 0, 0, 0];
  while (second() < options.seconds && host.killed() === 0) {
    const now = second();
    if (now >= task) {
      task += every.task;
      verdict.tasks++;
      await publish(channel, "work", new Uint8Array(100));
    }
    if (now >= large) {
      large += every.large;
      verdict.large++;
      await publish(channel, "work", new Uint8Array(LARGE_BYTES));
    }
    if (now >= burst) {
      burst += every.burst;
      verdict.burst += options.burst;
      await publishMany(channel, "burst", options.burst);
      await using reader = await openPeer(port);
      const reading = await reader.open();
      await reading.call("basic.consume", { queue: "burst", noAck: true });
      for (let index = 0; index < options.burst; index++) await reading.expectContent();
      await reader.close();
    }
    const memory = { broker: residentBytes(broker), worker: residentBytes(worker) };
    verdict.broker = Math.max(verdict.broker, memory.broker);
    verdict.worker = Math.max(verdict.worker, memory.worker);
    if (now >= look) {
      look += 60;
      say(
        `${now.toFixed(0)} s: broker ${megabytes(memory.broker)}, worker ${
          megabytes(memory.worker)
        }`,
      );
    }
    const next = Math.min(task, large, burst) - second();
    await pause(Math.max(0, next) * 1_000);
  }
  verdict.killed = host.killed();
  if (verdict.killed > 0) return verdict;
  await waitUntil("the worker to be done", () => {
    const sizes = worker.stderr.flatMap((line) => /^\[task-\d+\] (\d+)$/.exec(line)?.[1] ?? []);
    return sizes.length === verdict.tasks + verdict.large &&
      sizes.filter((size) => size === String(LARGE_BYTES)).length === verdict.large;
  }, END_MS);
  const { messageCount } = await channel.call("queue.declare", { queue: "waiting", passive: true });
  assertEquals(messageCount, options.backlog);
  await peer.close();
  for (const process of [worker, broker]) {
    process.kill();
    assertEquals((await process.ended()).code, 0);
  }
  verdict.killed = host.killed();
  return verdict;

  async function publish(channel: PeerChannel, routingKey: string, body: Uint8Array) {
    await channel.publish({ routingKey }, body, PERSISTENT);
    confirmed = (await channel.expect("basic.ack")).deliveryTag;
  }

  async function publishMany(channel: PeerChannel, routingKey: string, count: number) {
    const body = new Uint8Array(100);
    const last = confirmed + count;
    for (let sent = confirmed; confirmed < last;) {
      if (sent < last && sent - confirmed < WINDOW) {
        await channel.publish({ routingKey }, body, PERSISTENT);
        sent++;
      } else confirmed = (await channel.expect("basic.ack")).deliveryTag;
    }
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MB`;
}

if (import.meta.main) {
  const [seconds = 3_600, backlog = 1_000_000] = Deno.args.map(Number);
  const verdict = await mixedLoad({
    seconds,
    backlog,
    every: { task: 1, large: 30, burst: 60 },
    burst: 10_000,
    say: console.log,
  });
  console.log(JSON.stringify(verdict));
  if (verdict.killed > 0) Deno.exit(1);
}
