/**
 * Random sessions against a running broker: right and wrong methods in random order, contents,
 * damage, sudden ends. The same file is the long form:
 *
 *   deno task fuzz [SESSIONS [SEED]]
 */
// deno-lint-ignore-file no-console
import { assert, assertEquals } from "@std/assert";
import { memoryUnknown, residentBytes } from "../support/memory.ts";
import { encodeFrame, encodeHeader, encodeMethod, fieldsOf, FRAME } from "../support/methods.ts";
import { METHOD_NAMES } from "../support/methods.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { Typed } from "../support/wire.ts";
import { portOf, startProcess } from "./harness.ts";
import {
  concat,
  content,
  inParallel,
  LOGIN,
  method,
  play,
  type Verdict,
  Witness,
} from "./strangers.ts";

const WIDTH = 8;

/** Memory that may come and go with the garbage collector. */
const SLACK_BYTES = 48 * 1024 * 1024;

/** Few names, so that sessions meet each other's queues and exchanges. */
const NAMES = ["", "a", "b", "amq.topic", "amq.headers", "amq.rabbitmq.reply-to", "amq.gen-x"];
const KEYS = ["", "a", "b", "a.b", "#", "*.b", "a.#", "x".repeat(255)];
const TYPES = ["direct", "fanout", "topic", "headers", "topic", "fanout", "direct", "x-delayed"];
const ARGUMENTS: [name: string, values: unknown[]][] = [
  ["x-queue-type", ["classic", "quorum", "stream", 1]],
  ["x-message-ttl", [0, 1, 60_000, -1, "1", 2n ** 62n, 1.5]],
  ["x-expires", [1, 50, 0]],
  ["x-max-length", [0, 1, 5, -5]],
  ["x-max-length-bytes", [0, 10]],
  ["x-overflow", ["drop-head", "reject-publish", "reject-publish-dlx", "no"]],
  ["x-dead-letter-exchange", ["", "a", "amq.topic", 7]],
  ["x-dead-letter-routing-key", ["a", "b", "a.b"]],
  ["x-max-priority", [1, 5, 255, 256, -1]],
  ["x-single-active-consumer", [true, false, "yes"]],
  ["x-delivery-limit", [0, 1, -1]],
  ["x-consumer-timeout", [1, 100_000]],
  ["x-priority", [1, -5, "high"]],
  ["x-match", ["all", "any", "any-with-x", 3]],
  ["alternate-exchange", ["a", "amq.topic", ""]],
  ["a", [1, "x", null, [1, [2]], { b: { c: 1 } }, new Typed("D", [1, 2]), new Typed("z", 1)]],
];

/** The bytes of one session. */
export function session(random: Random): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [...LOGIN];
  for (const channel of [1, 2]) parts.push(method(channel, "channel.open"));
  const length = 1 + random.below(40);
  for (let step = 0; step < length; step++) parts.push(...action(random));
  if (random.below(2) === 0) parts.push(method(0, "connection.close", { replyCode: 200 }));
  const harm = random.below(6);
  const at = 1 + random.below(parts.length - 1);
  if (harm === 0) parts.splice(at, 1);
  if (harm === 1) parts.splice(at, 0, parts[random.below(parts.length)]!);
  const bytes = concat(parts);
  if (harm === 2) { for (let i = random.below(4); i >= 0; i--) damage(random, bytes); }
  return harm === 3 ? bytes.slice(0, random.below(bytes.length)) : bytes;
}

function damage(random: Random, bytes: Uint8Array): void {
  bytes[random.below(bytes.length)] = random.pick([0, 1, 127, 128, 206, 255, random.below(256)]);
}

/** Mostly what clients do; sometimes any method at all, or a frame of any kind. */
function action(random: Random): Uint8Array<ArrayBuffer>[] {
  const channel = random.pick([1, 1, 1, 2, 2, 3, 0]);
  const kind = random.below(100);
  if (kind === 0) return [anyFrame(random, channel)];
  if (kind === 1) return [anyMethod(random, channel, random.pick(METHOD_NAMES))];
  if (kind < 40) return publish(random, random.pick([1, 2]));
  return [anyMethod(random, random.pick([1, 2]), random.pick(COMMON))];
}

const COMMON = [
  "queue.declare",
  "queue.declare",
  "exchange.declare",
  "queue.bind",
  "exchange.bind",
  "basic.consume",
  "basic.get",
  "basic.ack",
  "basic.nack",
  "basic.reject",
  "basic.qos",
  "basic.recover",
  "basic.cancel",
  "confirm.select",
  "tx.select",
  "tx.commit",
  "tx.rollback",
  "queue.purge",
  "queue.delete",
  "channel.close",
];

function anyFrame(random: Random, channel: number): Uint8Array<ArrayBuffer> {
  const type = random.pick([0, 1, 2, 3, 4, 8, 255]);
  return encodeFrame(type, channel, Uint8Array.from(random.list(20, () => random.below(256))));
}

function publish(random: Random, channel: number): Uint8Array<ArrayBuffer>[] {
  const properties = {
    deliveryMode: random.pick([1, 2, 2, 3]),
    priority: random.below(256),
    expiration: random.pick(["0", "1", "60000", "-1", "soon", ""]),
    replyTo: random.pick(NAMES),
    headers: { CC: random.pick([["a"], ["b", "a.b"], "no", 5]), BCC: ["b"], "x-match": "all" },
    userId: random.pick(["guest", "guest", "other"]),
  };
  const chosen = Object.fromEntries(
    Object.entries(properties).filter(() => random.below(4) === 0),
  );
  const body = "x".repeat(random.pick([0, 1, 100, 5_000]));
  const frames = [
    anyMethod(random, channel, "basic.publish"),
    ...content(channel, body, chosen),
  ];
  if (random.below(200) === 0) frames.splice(random.below(3), 1);
  if (random.below(200) === 0) {
    frames[1] = encodeFrame(FRAME.header, channel, encodeHeader(random.below(2 ** 32)));
  }
  return frames;
}

function anyMethod(random: Random, channel: number, name: string): Uint8Array<ArrayBuffer> {
  const args = fieldsOf(name).map(([field, type]) => [field, argument(random, field, type)]);
  return encodeFrame(FRAME.method, channel, encodeMethod(name, Object.fromEntries(args)));
}

/** Arguments whose other value ends the connection at once. */
const TAME: Record<string, unknown> = { immediate: false, prefetchSize: 0, active: true };

function argument(random: Random, field: string, type: string): unknown {
  if (field in TAME && random.below(50) > 0) return TAME[field];
  if (field === "requeue") return random.below(10) > 0;
  switch (type) {
    case "bit":
      return random.below(4) === 0;
    case "table":
      return Object.fromEntries(
        random.list(3, () => random.pick(ARGUMENTS)).map(([name, of]) => [name, random.pick(of)]),
      );
    case "shortstr":
      if (field === "routingKey") return random.pick(KEYS);
      return field === "type" ? random.pick(TYPES) : random.pick(NAMES);
    case "longstr":
      return random.text();
    default:
      return random.pick([0, 0, 1, 1, 2, 3, 255]);
  }
}

/**
 * Plays sessions while decent clients work beside them.
 * @returns how the sessions ended
 */
export async function fuzz(sessions: number, seed: number): Promise<Map<Verdict, number>> {
  await using dir = await tempDir();
  await using broker = startProcess(["--data", dir.path]);
  const port = await portOf(broker);
  await using witness = await Witness.start(port);
  const verdicts = new Map<Verdict, number>();
  async function round(first: number, count: number): Promise<void> {
    const seeds = Array.from({ length: count }, (_, index) => (seed + first + index) >>> 0);
    await inParallel(seeds, WIDTH, async (seed) => {
      try {
        const verdict = await play(port, session(new Random(seed)));
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        if (seed % 10 === 0) await witness.publish();
      } catch (error) {
        const log = broker.stderr.slice(-5).join("\n");
        throw new Error(`session with seed ${seed}\n${log}`, { cause: error });
      }
    });
  }
  const warmUp = Math.floor(sessions / 2);
  await round(0, warmUp);
  const memory = () => memoryUnknown === undefined ? residentBytes(broker) : 0;
  const before = memory();
  await round(warmUp, sessions - warmUp);
  const grown = memory() - before;
  await witness.check();
  broker.kill();
  const { code, stderr } = await broker.ended();
  assertEquals(code, 0, stderr);
  assert(!stderr.includes("a fault in the broker"), stderr);
  assert(grown < SLACK_BYTES, `the broker grew by ${grown} bytes over ${sessions} sessions`);
  return verdicts;
}

if (import.meta.main) {
  const [sessions = 20_000, seed = Math.floor(Math.random() * 2 ** 32)] = Deno.args.map(Number);
  console.log(`${sessions} sessions, seed ${seed}`);
  const verdicts = await fuzz(sessions, seed);
  for (const [verdict, count] of verdicts) console.log(`${verdict}: ${count}`);
}
