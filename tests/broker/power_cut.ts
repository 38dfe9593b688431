/**
 * Power cuts at any moment: a broker works on a recorded disk, and what a cut may leave of it is
 * opened, checked as a whole, and compared with what clients had been told by then.
 */
import { DatabaseSync } from "node:sqlite";
import { CHUNKED_FROM } from "../../src/broker/message/stored_body.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { Store } from "../../src/broker/store/store.ts";
import { fakeDisk, fakeDiskMissing } from "../support/fake_disk.ts";
import { openPeer, type Peer } from "../support/protocol_peer.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";
import { portOf, startProcess } from "./harness.ts";
import { type DiskRecord, readRecords, RecordedDisk } from "./recorded_disk.ts";
import { storedMessages } from "./stored_messages.ts";

const QUEUES = ["plain", "work", "dead", "left", "right"];
const PERSISTENT = { deliveryMode: 2 };
const WINDOW = 100;
const LARGEST = 20_000;
/** Messages of which one goes in chunks. */
const EVERY_CHUNKED = 500;

/** On a small disk the log is short, and often emptied. */
const DISK_MEGABYTES = 64;

/** Why it cannot be done here, or undefined. */
export const powerCutMissing = fakeDiskMissing ?? mountMissing;

export interface PowerCutOptions {
  /** Messages of each of the two publishers. */
  messages: number;
  images: number;
  seed: number;
  /** Milliseconds that each sync takes longer: on a slow disk the broker goes on meanwhile. */
  syncMs: number;
  /** Told about violations. */
  say: (sentence: string) => void;
  /** False: cuts as if nothing had ever been synced, which must be found out. */
  isSynced?: boolean;
}

export interface Verdict {
  images: number;
  confirmed: number;
  /** Checkpoints, as far as cuts fell into them or behind them. */
  rewritten: number;
  /** Those of them while a thread synced the data file, or behind that. */
  aside: number;
  lost: number;
  /** Transactions and dead letters that are done in part, and data that are not whole. */
  torn: number;
}

/** What clients were told, and where the record of the disk was then. */
class Promises {
  /** Ids by the queue they were confirmed to be in. */
  readonly kept: { id: string; queue: string; from: number }[] = [];
  /** Ids that a consumer has acknowledged or rejected, and when it began to. */
  readonly settled = new Map<string, number>();
}

export async function cutPower(options: PowerCutOptions): Promise<Verdict> {
  await using dir = await tempDir("power-cut-");
  const record = dir.file("record");
  const { begin, promises } = await work(dir.path, record, options);
  const records = await readRecords(record);
  const verdict: Verdict = { images: 0, confirmed: 0, rewritten: 0, aside: 0, lost: 0, torn: 0 };
  const random = new Random(options.seed);
  const disk = new RecordedDisk(records, options.isSynced ?? true);
  const start = records.findIndex(({ end }) => end > begin);
  disk.advance(start);
  disk.settle();
  for (const cut of cuts(records, start, options.images, random)) {
    disk.advance(cut);
    const folder = dir.file(`image-${verdict.images++}`);
    await Deno.mkdir(folder);
    const words = await disk.image(folder, random);
    const position = records[cut - 1]!.end;
    judge(folder, position, promises, verdict, (fault) => options.say(`${words}: ${fault}`));
    const checkpoints = records.slice(start, cut).filter(({ file }) => file === 0);
    const copying = checkpoints[0]?.thread;
    if (copying !== undefined) verdict.rewritten++;
    if (checkpoints.some(({ thread }) => thread !== copying)) verdict.aside++;
    await Deno.remove(folder, { recursive: true });
  }
  verdict.confirmed = promises.kept.length;
  return verdict;
}

/** Anywhere, and more often where a sync begins or ends, or the data file is written. */
function cuts(records: readonly DiskRecord[], start: number, count: number, random: Random) {
  const edges = [...records.keys()].filter((index) =>
    index > start && (records[index]!.file === 0 || records[index]!.kind !== "write")
  );
  const cuts = Array.from({ length: count }, () => {
    const near = random.pick(edges) + random.below(5) - 2;
    const anywhere = start + 1 + random.below(records.length - start);
    return Math.min(records.length, Math.max(start + 1, random.below(2) > 0 ? near : anywhere));
  });
  return cuts.sort((one, other) => one - other);
}

/** A broker's life on the recorded disk. @returns where the record was when all was declared */
async function work(
  folder: string,
  record: string,
  { messages, seed, syncMs }: PowerCutOptions,
): Promise<{ begin: number; promises: Promises }> {
  const env = await fakeDisk(folder, { syncMs, record });
  await using disk = await mountDisk(DISK_MEGABYTES);
  await using broker = startProcess(
    ["--data", `${disk.path}/data`, "--disk-free-limit", "0"],
    { env },
  );
  const port = await portOf(broker);
  const random = new Random(seed);
  const promises = new Promises();
  const now = () => Deno.statSync(record).size;
  await using control = await openPeer(port);
  const channel = await control.open();
  for (const queue of QUEUES) {
    const letters = { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" };
    const args = queue === "work" ? { arguments: letters } : {};
    await channel.call("queue.declare", { queue, durable: true, ...args });
  }
  const begin = now();
  let isOver = false;
  const publishing = Promise.all(
    ["plain", "work"].map((queue) =>
      withPeer(port, (peer) => publish(peer, queue, messages, random, promises, now))
    ),
  ).then(() => isOver = true);
  await Promise.all([
    publishing,
    withPeer(port, (peer) => transact(peer, () => isOver, promises, now)),
    withPeer(port, (peer) => consume(peer, messages, promises, now)),
  ]);
  broker.kill("SIGKILL");
  await broker.ended();
  return { begin, promises };
}

async function withPeer(port: number, run: (peer: Peer) => Promise<void>): Promise<void> {
  await using peer = await openPeer(port);
  await run(peer);
}

async function publish(
  peer: Peer,
  queue: string,
  count: number,
  random: Random,
  promises: Promises,
  now: () => number,
): Promise<void> {
  const channel = await peer.open();
  await channel.call("confirm.select");
  for (let sent = 0, confirmed = 0; confirmed < count;) {
    while (sent < count && sent - confirmed < WINDOW) {
      const isChunked = sent % EVERY_CHUNKED === EVERY_CHUNKED - 1;
      const size = isChunked ? CHUNKED_FROM : random.below(LARGEST);
      const body = `${queue}.${sent++} `.padEnd(size, "x");
      await channel.publish({ routingKey: queue }, body, PERSISTENT);
    }
    const { deliveryTag } = await channel.expect("basic.ack");
    const from = now();
    for (; confirmed < deliveryTag; confirmed++) {
      promises.kept.push({ id: `${queue}.${confirmed}`, queue, from });
    }
  }
}

/** Pairs that are there together or not at all. */
async function transact(
  peer: Peer,
  isOver: () => boolean,
  promises: Promises,
  now: () => number,
): Promise<void> {
  const channel = await peer.open();
  await channel.call("tx.select");
  for (let pair = 0; !isOver(); pair++) {
    for (const queue of ["left", "right"]) {
      await channel.publish({ routingKey: queue }, `${pair} `, PERSISTENT);
    }
    await channel.call("tx.commit");
    const from = now();
    for (const queue of ["left", "right"]) promises.kept.push({ id: `${pair}`, queue, from });
  }
}

/** Acknowledges every other message, and rejects the others. */
async function consume(
  peer: Peer,
  count: number,
  promises: Promises,
  now: () => number,
): Promise<void> {
  const channel = await peer.open();
  await channel.call("basic.qos", { prefetchCount: WINDOW });
  await channel.call("basic.consume", { queue: "work" });
  for (let number = 0; number < count; number++) {
    const { args: { deliveryTag }, text } = await channel.expectContent();
    promises.settled.set(idOf(text), now());
    if (number % 2 > 0) await channel.send("basic.ack", { deliveryTag });
    else await channel.send("basic.reject", { deliveryTag, requeue: false });
  }
}

function idOf(body: string): string {
  return body.slice(0, body.indexOf(" "));
}

/** @param position of the record that the power was cut after */
function judge(
  folder: string,
  position: number,
  { kept, settled }: Promises,
  verdict: Verdict,
  say: (fault: string) => void,
): void {
  let found: Map<string, Set<string>>;
  try {
    // It is another file than the one that was in use: all of it is checked.
    const store = new Store({ file: new DataFile(folder), onFailure: () => {} });
    store.begin();
    store.close();
    found = readQueues(`${folder}/broker.db`);
  } catch (error) {
    verdict.torn++;
    return say((error as Error).message);
  }
  const dead = found.get("dead")!;
  for (const { id, queue, from } of kept) {
    if (from > position || found.get(queue)!.has(id)) continue;
    if ((settled.get(id) ?? Infinity) <= position) continue;
    if (queue === "work" && dead.has(id)) continue;
    verdict.lost++;
    say(`${id} of ${queue} was confirmed and is lost`);
  }
  const doubled = dead.intersection(found.get("work")!);
  const halves = found.get("left")!.symmetricDifference(found.get("right")!);
  for (const id of [...doubled, ...halves]) {
    verdict.torn++;
    say(`${id} is there in part`);
  }
}

/** The ids of messages by queue. */
function readQueues(path: string): Map<string, Set<string>> {
  using database = new DatabaseSync(path, { readOnly: true });
  const text = new TextDecoder();
  const found = new Map(QUEUES.map((queue) => [queue, new Set<string>()]));
  const rows = database
    .prepare("SELECT lane.id, queue.name FROM lane JOIN queue ON queue.id = lane.queue").all();
  const names = new Map(rows.map(({ id, name }) => [id, text.decode(name as Uint8Array)]));
  for (const { lane, bytes, headLength } of storedMessages(database)) {
    const name = names.get(lane);
    if (name !== undefined) found.get(name)!.add(idOf(text.decode(bytes.subarray(headLength))));
  }
  return found;
}
