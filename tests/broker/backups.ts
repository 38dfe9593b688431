/**
 * Backups of a broker that takes tasks and hands them out: each passes `broker check`, and holds
 * every task that was confirmed before it began and not acknowledged since, once and in order.
 * Meanwhile a bystander publishes with confirms.
 *
 *   deno task backups [BACKUPS [MESSAGES]]
 */
// deno-lint-ignore-file no-console
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openPeer } from "../support/protocol_peer.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { pause } from "../../src/time/timer.ts";
import { brokerCommand, portOf, startProcess } from "./harness.ts";
import { storedMessages } from "./stored_messages.ts";
import { StreamOfTasks } from "./stream_of_tasks.ts";

/** Tasks a second while backups are made. */
const RATE = 10_000;
/** For one backup, or check of it, on a busy machine. */
const LIMIT_MS = 600_000;

export interface BackupsOptions {
  backups: number;
  /** That wait all the time: with more of them a backup takes longer. */
  messages: number;
  say?: (sentence: string) => void;
}

export interface BackupsVerdict {
  /** Tasks that were confirmed before a backup began, and are not in it. */
  lost: number;
  /** Tasks a second that were confirmed while backups were made. */
  rate: number;
  /** Milliseconds until a publish of the bystander was confirmed, at most: before, and meanwhile. */
  quiet: number;
  slowest: number;
}

/** @throws {AssertionError} when a backup fails, or does not pass the check */
export async function backups(options: BackupsOptions): Promise<BackupsVerdict> {
  const { say = () => {}, messages } = options;
  await using dir = await tempDir();
  const data = dir.file("data");
  await using broker = startProcess(["--data", data]);
  const port = await portOf(broker);
  await using stream = await StreamOfTasks.open(`amqp://127.0.0.1:${port}/`, messages);
  await stream.put(messages);
  stream.flow(RATE);

  let isOver = false;
  const bystander = await (await openPeer(port)).open();
  await bystander.call("confirm.select");
  await bystander.call("queue.declare", { queue: "bystander", durable: true });
  let slowest = 0;
  // What is done here with a backup would hold the bystander up.
  let isMeasured = true;
  async function standBy(): Promise<void> {
    while (!isOver) {
      const isWanted = isMeasured;
      const started = performance.now();
      await bystander.publish({ routingKey: "bystander" }, "b", { deliveryMode: 2 });
      await bystander.expect("basic.ack");
      if (isWanted) slowest = Math.max(slowest, performance.now() - started);
      await pause(1);
    }
  }
  const standing = standBy();
  standing.catch(() => {}); // when a backup fails, that is what is told
  const before = stream.confirmed + Math.max(1_000, messages / 4);
  while (stream.confirmed < before) await pause(10);
  const quiet = slowest;
  slowest = 0;
  isMeasured = false;

  let lost = 0;
  let took = 0;
  let confirmed = 0;
  for (let number = 1; number <= options.backups; number++) {
    const file = dir.file("tasks.backup");
    const known = stream.confirmed;
    const began = performance.now();
    isMeasured = true;
    await act(["backup", "--data", data, file]);
    isMeasured = false;
    const ms = performance.now() - began;
    took += ms;
    confirmed += stream.confirmed - known;
    const acknowledged = stream.acknowledged;
    const { stdout } = await act(["check", file]);
    const [, counted, read] = stdout.match(/load +(\d+) +(\d+)\n/) ?? [];
    assertEquals(counted, read);
    const { count, first, last } = await tasksIn(file);
    assertEquals(count, Number(counted));
    lost += Math.max(0, first - acknowledged) + Math.max(0, known - 1 - last);
    assertEquals(Deno.statSync(file).mode! & 0o777, 0o600);
    say(
      `backup ${number}: tasks ${first} to ${last}, ${known} confirmed before, ` +
        `${ms.toFixed(0)} ms, bystander ${slowest.toFixed(0)} ms at most so far`,
    );
  }
  isOver = true;
  await standing;
  const left = [...Deno.readDirSync(dir.path)].map(({ name }) => name).sort();
  assertEquals(left, ["data", "tasks.backup"]);
  await stream.end();
  await bystander.peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
  return { lost, rate: confirmed / took * 1_000, quiet, slowest };
}

async function act(args: string[]) {
  const [command, ...rest] = brokerCommand(args);
  const done = await run(command, { args: rest, timeoutMs: LIMIT_MS });
  assertEquals(done.code, 0, done.stdout + done.stderr);
  return done;
}

/** Which tasks a backup has. @throws there is a gap */
async function tasksIn(file: string): Promise<{ count: number; first: number; last: number }> {
  using database = new DatabaseSync(file, { readOnly: true });
  const decoder = new TextDecoder();
  const filler = new TextEncoder().encode(StreamOfTasks.filler)[0];
  let count = 0;
  let first = 0;
  let last = 0;
  for (const { bytes, headLength } of storedMessages(database)) {
    if (bytes.at(-1) !== filler) continue;
    const number = parseInt(decoder.decode(bytes.subarray(headLength)));
    if (count === 0) first = number;
    else assert(number === last + 1, `after task ${last} comes ${number}`);
    last = number;
    count++;
    // So that the stream goes on.
    if (count % 10_000 === 0) await pause(0);
  }
  return { count, first, last };
}

if (import.meta.main) {
  const [number = 20, messages = 200_000] = Deno.args.map(Number);
  const { lost, rate, quiet, slowest } = await backups({
    backups: number,
    messages,
    say: console.log,
  });
  console.log(
    `lost ${lost}; ${rate.toFixed(0)} tasks/s; a bystander's confirm took ${
      quiet.toFixed(0)
    } ms at ` +
      `most before, and ${slowest.toFixed(0)} ms meanwhile`,
  );
}
