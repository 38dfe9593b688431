/** What a task carries need not be text: it survives retries, burial and replay byte for byte. */
import { assert, assertEquals } from "@std/assert";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { encodeFrame, encodeMethod, FRAME } from "../support/methods.ts";
import { openPeer, type PeerChannel } from "../support/protocol_peer.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { QueueBench } from "./bench.ts";

const { url } = await sharedNode();
const PORT = Number(new URL(url).port);

/** Text as Latin-1. */
function latin1(text: string): number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}

function short(bytes: number[]): number[] {
  return [bytes.length, ...bytes];
}

/** Fields of a table that are no UTF-8, or lose their type when they are decoded. */
const FIELDS: readonly number[][] = [
  [...short(latin1("gr\xfc\xdfe")), 0x53, 0, 0, 0, 2, 0xff, 0xfe], // S
  [...short(latin1("gr\xfc\xdf\xe9")), 0x53, 0, 0, 0, 1, 0xfd], // looks like the one before
  [...short(latin1("decimal")), 0x44, 2, 0, 0, 0x30, 0x39], // D
  [...short(latin1("float")), 0x66, 0x3d, 0xcc, 0xcc, 0xcd], // f
  [...short(latin1("short")), 0x73, 0x01, 0x02], // s
  [...short(latin1("nested")), 0x46, 0, 0, 0, 9, 1, 0x6b, 0x53, 0, 0, 0, 2, 0xc3, 0x28], // F
];

/** Properties by their flag, in order. */
const STRINGS: readonly (readonly [flag: number, bytes: number[]])[] = [
  [0x8000, short(latin1("text/\xe9"))], // content-type
  [0x0400, short(Array(86).fill(0xe9))], // correlation-id
  [0x0200, short(latin1("r\xf6ply"))], // reply-to
  [0x0020, short(latin1("t\xffpe"))], // type
  [0x0008, short(latin1("\x00app\x80"))], // app-id
];

/** A content header, as its bytes. */
function headerOf(id: number[], bodySize: number): number[] {
  const table = FIELDS.flat();
  const parts = new Map<number, number[]>([
    ...STRINGS,
    [0x2000, [0, 0, table.length >> 8, table.length & 0xff, ...table]],
    [0x1000, [2]],
    [0x0080, short(id)],
    [0x0040, [0, 0, 0, 0, 0, 0, 1, 2]],
  ]);
  const flags = [...parts.keys()].reduce((sum, flag) => sum | flag, 0);
  const ordered = [...parts].sort(([one], [other]) => other - one).flatMap(([, bytes]) => bytes);
  return [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, bodySize, flags >> 8, flags & 0xff, ...ordered];
}

async function publish(channel: PeerChannel, queue: string, id: number[]): Promise<void> {
  const body = new TextEncoder().encode("x");
  const method = encodeMethod("basic.publish", { exchange: "", routingKey: queue });
  for (
    const [type, payload] of [
      [FRAME.method, method],
      [FRAME.header, new Uint8Array(headerOf(id, body.length))],
      [FRAME.body, body],
    ] as const
  ) {
    await channel.peer.sendBytes(encodeFrame(type, channel.id, payload));
  }
  await channel.expect("basic.ack");
}

function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Takes a message and gives its content header, in hexadecimal digits. */
async function take(channel: PeerChannel, queue: string): Promise<string> {
  const args = await channel.call("basic.get", { queue, noAck: true });
  return hex((await channel.readContent(args)).header);
}

function assertWhole(header: string, id: number[]): void {
  for (const part of [...FIELDS, ...STRINGS.map(([, bytes]) => bytes), short(id)]) {
    assert(header.includes(hex(part)), `${hex(part)} is not in ${header}`);
  }
}

brokerTest("properties that are no UTF-8 survive retries, burial and replay", async () => {
  await using bench = await QueueBench.open(url);
  await using peer = await openPeer(PORT);
  const channel = await peer.open();
  await channel.call("confirm.select");
  const id = latin1("m\xe9\x00");
  await publish(channel, bench.name, id);
  await using worker = bench.worker("--backoff", "50ms", "--max-attempts", "3", "--", "false");
  const dead = `${bench.name}.dead`;
  await waitUntil("it to be dead", async () => {
    return await bench.ready(dead).catch(() => 0) === 1;
  });
  worker.kill();
  assertEquals((await worker.ended()).code, 0);
  await bench.dead("ls");
  await waitUntil("it to be back", async () => await bench.ready(dead) === 1);
  await bench.dead("replay");
  await waitUntil("it to be replayed", async () => await bench.ready() === 1);
  const replayed = await take(channel, bench.name);
  assertWhole(replayed, id);
  assert(!replayed.includes(hex(latin1("task-dead-reason"))));
  assert(replayed.includes(hex(latin1("task-replays"))));
});

brokerTest("ids that look alike when they are decoded are not taken for each other", async () => {
  await using dir = await tempDir("bytes-");
  await using bench = await QueueBench.open(url);
  await using peer = await openPeer(PORT);
  const channel = await peer.open();
  await channel.call("confirm.select");
  const ids = [0xc8, 0xc9, 0xca].map((byte) => [0, 0, 0, byte]);
  for (const id of [...ids, ids[0]!]) await publish(channel, bench.name, id);
  await using worker = bench.worker(
    "--dedupe-file",
    dir.file("done.db"),
    "--output",
    `file:${dir.path}`,
    "--exit-when-empty",
    "--",
    "echo",
    "x",
  );
  const { code, stderr } = await worker.ended();
  assertEquals([code, stderr.match(/ done /g)?.length], [0, 3], stderr);
  const files = Array.from(Deno.readDirSync(dir.path), ({ name }) => name)
    .filter((name) => name.endsWith(".stdout"));
  assertEquals(files.sort(), ["C8", "C9", "CA"].map((end) => `%00%00%00%${end}.1.stdout`));
});
