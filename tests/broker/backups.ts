/**
 * Backups of a broker that takes tasks: each passes `broker check`, and holds every task that was
 * confirmed before it began, once and in order. Meanwhile a bystander publishes with confirms.
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

const PERSISTENT = { deliveryMode: 2 };
const QUEUE = "load";
const BYTES = 100;

/** Confirms that the publisher waits for. */
const WINDOW = 2_000;
/** Tasks a second while backups are made, at most: a backup of everything has to have an end. */
const RATE = 10_000;
/** For one backup, or check of it, on a busy machine. */
const LIMIT_MS = 600_000;

export interface BackupsOptions {
  backups: number;
  /** That are stored before the first. */
  messages: number;
  say?: (sentence: string) => void;
}

export interface BackupsVerdict {
  /** Tasks that were confirmed before a backup began, and are not in it. */
  lost: number;
  /** Tasks a second while backups were made. */
  rate: number;
  /** Milliseconds until a publish of the bystander was confirmed, at most: before, and meanwhile. */
  quiet: number;
  slowest: number;
}

/** @throws {AssertionError} when a backup fails, or does not pass the check */
export async function backups(options: BackupsOptions): Promise<BackupsVerdict> {
  const { say = () => {} } = options;
  await using dir = await tempDir();
  const data = dir.file("data");
  await using broker = startProcess(["--data", data]);
  const port = await portOf(broker);
  const publishing = await (await openPeer(port)).open();
  await publishing.call("confirm.select");
  await publishing.call("queue.declare", { queue: QUEUE, durable: true });
  let published = 0;
  let confirmed = 0;
  async function publish(upTo: () => boolean): Promise<void> {
    while (!upTo()) {
      const body = `${published++} `.padEnd(BYTES, "t");
      await publishing.publish({ routingKey: QUEUE }, body, PERSISTENT);
      while (published - confirmed > WINDOW) await readConfirm();
    }
    while (confirmed < published) await readConfirm();
  }
  async function readConfirm(): Promise<void> {
    confirmed = (await publishing.expect("basic.ack")).deliveryTag;
  }
  await publish(() => published >= options.messages);

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
      await bystander.publish({ routingKey: "bystander" }, "b", PERSISTENT);
      await bystander.expect("basic.ack");
      if (isWanted) slowest = Math.max(slowest, performance.now() - started);
    }
  }
  const standing = standBy();
  const before = published + Math.max(1_000, options.messages / 4);
  await publish(() => published >= before);
  const quiet = slowest;
  slowest = 0;
  isMeasured = false;

  const started = performance.now();
  const first = confirmed;
  let lost = 0;
  const working = (async () => {
    for (let number = 1; number <= options.backups; number++) {
      const file = dir.file("tasks.backup");
      const known = confirmed;
      const began = performance.now();
      isMeasured = true;
      await act(["backup", "--data", data, file]);
      isMeasured = false;
      const ms = performance.now() - began;
      const { stdout } = await act(["check", file]);
      const [, counted, read] = stdout.match(/load +(\d+) +(\d+)\n/) ?? [];
      assertEquals(counted, read);
      const held = countOf(file);
      assertEquals(held, Number(counted));
      lost += Math.max(0, known - held);
      assertEquals(Deno.statSync(file).mode! & 0o777, 0o600);
      say(`backup ${number}: ${held} tasks, ${known} confirmed before, ${ms.toFixed(0)} ms`);
    }
  })().finally(() => isOver = true);
  while (!isOver) {
    const due = (performance.now() - started) / 1_000 * RATE;
    await publish(() => isOver || published - first > due);
    await pause(10);
  }
  await working;
  await standing;
  const rate = (confirmed - first) / (performance.now() - started) * 1_000;
  const left = [...Deno.readDirSync(dir.path)].map(({ name }) => name).sort();
  assertEquals(left, ["data", "tasks.backup"]);
  await publishing.peer.close();
  await bystander.peer.close();
  broker.kill();
  assertEquals((await broker.ended()).code, 0);
  return { lost, rate, quiet, slowest };
}

async function act(args: string[]) {
  const [command, ...rest] = brokerCommand(args);
  const done = await run(command, { args: rest, timeoutMs: LIMIT_MS });
  assertEquals(done.code, 0, done.stdout + done.stderr);
  return done;
}

/** How many tasks there are, which are 0 to the last one, in order. */
function countOf(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  let next = 0;
  const rows = database.prepare("SELECT content FROM message ORDER BY id").iterate();
  for (const row of rows) {
    const content = row["content"] as Uint8Array;
    const text = new TextDecoder().decode(content.subarray(-BYTES));
    if (!text.endsWith("t")) continue;
    assert(text.startsWith(`${next} `), `${text} instead of ${next}`);
    next++;
  }
  database.close();
  return next;
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
