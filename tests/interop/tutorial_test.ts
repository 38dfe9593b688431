/**
 * Our two tools, started with nothing but AMQP_URL, share the tutorial's `task_queue` with other
 * makers' programs: declared as today's tutorials do (quorum) and as the older ones did (classic).
 */
import { assertEquals } from "@std/assert";
import { brokerMissing, onThisBroker, virtualHost } from "../support/broker.ts";
import { type Output, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { unless } from "../support/unless.ts";
import { waitUntil } from "../support/wait.ts";
import { type Command, type Peer, preparePeers, type QueueType } from "./peers.ts";
import { Place } from "./place.ts";

interface Case {
  readonly name: string;
  readonly run: (place: Place, peer: Peer, type: QueueType) => Promise<void>;
}

const CASES: readonly Case[] = [
  { name: "our worker does what their new_task sent", run: theirsToOurs },
  { name: "their worker does what our new_task sent", run: oursToTheirs },
  { name: "both workers share what both senders sent", run: sharing },
];
const TYPES: readonly QueueType[] = ["quorum", "classic"];

const DONE = " [x] Done";
const RECEIVED = " [x] Received ";

const folder = await tempDir("interop-");
globalThis.addEventListener("unload", () => Deno.removeSync(folder.path, { recursive: true }));
const peers = await preparePeers(folder.path);

const place = new Place(await virtualHost());

for (const peer of peers) {
  for (const type of TYPES) {
    for (const { name, run } of CASES) {
      const missing = brokerMissing ?? peer.missing;
      Deno.test({
        ...unless(missing, onThisBroker(`${peer.name}, ${type} queue: ${name}`)),
        fn: async () => {
          await place.clear();
          await run(place, peer, type);
        },
      });
    }
  }
}

async function theirsToOurs(place: Place, peer: Peer, type: QueueType): Promise<void> {
  if (!peer.declares) await place.declare(type);
  const text = "Gr\u00fc\u00dfe from \u{1f407} .";
  await send(peer.newTask(place.url, type, text));
  await using worker = start(ours("worker", place.url));
  await worker.waitForLine(/^ \[x\] Done$/);
  assertEquals(worker.stdout, [
    " [*] Waiting for messages. To exit press CTRL+C",
    RECEIVED + text,
    DONE,
  ]);
  await stop(worker);
  await place.waitForConsumers(0);
  assertEquals((await place.look()).ready, 0);
}

async function oursToTheirs(place: Place, peer: Peer, type: QueueType): Promise<void> {
  const text = "Hello W\u00f6rld.";
  const sent = await send(ours("new_task", place.url, "--queue-type", type, ...text.split(" ")));
  assertEquals(sent.stdout, ` [x] Sent ${text}\n`);
  await using worker = start(peer.worker(place.url, type), { killOnDispose: true });
  await worker.waitForLine(/^ \[x\] Done$/);
  assertEquals(tasksOf(worker), [text]);
}

async function sharing(place: Place, peer: Peer, type: QueueType): Promise<void> {
  await place.declare(type);
  await using theirs = start(peer.worker(place.url, type), { killOnDispose: true });
  await using mine = start(ours("worker", place.url));
  await place.waitForConsumers(2);
  const texts = ["First .", "Second .", "Third .", "Fourth ."];
  for (const [i, text] of texts.entries()) {
    await send(
      i % 2 === 0 ? peer.newTask(place.url, type, text) : ours("new_task", place.url, text),
    );
  }
  // The queue holds a second of work for each at once: neither takes it all.
  await Promise.all([theirs, mine].map((worker) => worker.waitForLine(/^ \[x\] Received/)));
  await waitUntil("four tasks to be done", () => {
    return [...theirs.stdout, ...mine.stdout].filter((line) => line === DONE).length === 4;
  });
  assertEquals([...tasksOf(theirs), ...tasksOf(mine)].sort(), texts.toSorted());
  await stop(mine);
  assertEquals((await place.look()).ready, 0);
}

/** One of our tools. */
function ours(tool: "new_task" | "worker", url: string, ...args: string[]): Command {
  const [command, ...rest] = toolCommand(tool, args);
  return { command, args: rest, env: { AMQP_URL: url } };
}

function start({ command, args, env }: Command, options = {}): TestProcess {
  return spawn(command, { args, env, ...options });
}

async function send(command: Command): Promise<Output> {
  await using sender = start(command);
  const output = await sender.ended();
  assertEquals([output.code, output.stderr], [0, ""]);
  return output;
}

/** A worker of ours ends cleanly, so that all it did is acknowledged. */
async function stop(worker: TestProcess): Promise<void> {
  worker.kill("SIGTERM");
  assertEquals((await worker.ended()).code, 0);
}

function tasksOf(worker: TestProcess): string[] {
  return worker.stdout.filter((line) => line.startsWith(RECEIVED))
    .map((line) => line.slice(RECEIVED.length));
}
