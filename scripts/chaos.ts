/**
 * Chaos: workers and the broker are killed and connections cut at random while tasks flow, and
 * every task must end done or in the dead queue.
 *
 *   deno run -A scripts/chaos.ts [--broker rabbitmq|embedded] [--tasks 2000] [--seed N]
 *
 * Prints the seed: the same seed makes the same choices (the machine's timing still differs).
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { Connector } from "../src/amqp/connection.ts";
import { ensureDeclared, inspectQueue } from "../src/amqp/declare.ts";
import { Publisher } from "../src/amqp/publisher.ts";
import type { Transport } from "../src/amqp/transport.ts";
import { parseUrls } from "../src/amqp/url.ts";
import { ToolError } from "../src/errors.ts";
import { createLogger } from "../src/observe/log.ts";
import { type Damage, parseRuns, type Run, unexplained } from "./chaos/duplicates.ts";
import { deadQueue, delayQueue, workQueue } from "../src/task/topology.ts";
import { spawnDeno, type TestProcess } from "../tests/support/process.ts";
import { Proxy } from "../tests/support/proxy.ts";
import { Random } from "../tests/support/random.ts";
import { rabbitmqMissing, startRabbitmq } from "../tests/support/rabbitmq.ts";
import { tempDir } from "../tests/support/temp.ts";
import { waitUntil } from "../tests/support/wait.ts";

const WORKER = new URL("../src/worker.ts", import.meta.url);
const QUEUE = "chaos";
const WORKERS = 4;
const BACKOFF_MS = [100, 200, 400];
/** The whole run ends by then, whatever happens. */
const LIMIT_MS = 300_000;

/** A broker that can be killed and started again. */
interface Victim extends AsyncDisposable {
  readonly port: number;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A run writes when it begins and how it ends, to a file that only grows. */
const HANDLER = `
  const file = Deno.openSync(Deno.env.get("CHAOS_LOG"), { append: true });
  const worker = Deno.env.get("CHAOS_WORKER");
  function note(number, what) {
    file.writeSync(new TextEncoder().encode([number, what, worker, Date.now()].join(" ") + "\\n"));
  }
  export default async (task, { attempt }) => {
    const number = Number(task.text());
    note(number, "begin");
    await new Promise((resolve) => setTimeout(resolve, number % 200));
    // Every 20th never works, every 5th works the second time.
    const end = number % 20 === 0 ? "failed" : number % 5 === 0 && attempt < 2 ? "failed" : "done";
    note(number, end);
    if (end === "failed") throw new Error("as planned");
  };
`;

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, { string: ["broker", "tasks", "seed"] });
  const seed = Number(args.seed ?? crypto.getRandomValues(new Uint16Array(1))[0]);
  const tasks = Number(args.tasks ?? 2_000);
  const kinds = args.broker === undefined ? ["embedded", "rabbitmq"] : [String(args.broker)];
  let faults = 0;
  for (const kind of kinds) {
    if (kind === "rabbitmq" && rabbitmqMissing) console.log(`chaos: left out: ${rabbitmqMissing}`);
    else faults += await chaos(kind, tasks, seed);
  }
  return faults === 0 ? 0 : 1;
}

async function chaos(kind: string, tasks: number, seed: number): Promise<number> {
  console.log(`chaos: ${kind}, ${tasks} tasks, ${WORKERS} workers, seed ${seed}`);
  const random = new Random(seed);
  await using dir = await tempDir("chaos-");
  await using broker = await startBroker(kind);
  await using proxy = await Proxy.start(broker.port);
  const url = `amqp://guest:guest@127.0.0.1:${broker.port}/`;
  await Deno.writeTextFile(dir.file("handler.js"), HANDLER);
  await Deno.writeTextFile(dir.file("runs"), "");
  await publish(url, tasks);

  const started = performance.now();
  const damages: Damage[] = [];
  const counts = { workers: 0, broker: 0, connections: 0 };
  const workers: { name: string; process: TestProcess }[] = [];
  let generation = 0;
  function startWorker(): { name: string; process: TestProcess } {
    const name = `worker-${++generation}`;
    const process = spawnDeno(WORKER, {
      args: [
        ...["--queue", QUEUE, "--handler", dir.file("handler.js"), "--concurrency", "4"],
        ...["--max-attempts", "3", "--backoff", "100ms,200ms,400ms", "--max-crashes", "1000"],
      ],
      env: { AMQP_URL: proxy.url, CHAOS_LOG: dir.file("runs"), CHAOS_WORKER: name },
      killOnDispose: true,
    });
    return { name, process };
  }
  for (let i = 0; i < WORKERS; i++) workers.push(startWorker());
  try {
    // Damage until most of the work is done, then peace, so that the end can be reached.
    while (
      doneTasks(dir.file("runs")).size < tasks * 0.9 && performance.now() - started < LIMIT_MS / 2
    ) {
      await pause(200 + random.below(800));
      // The broker dies at least once, with half of the work done.
      const due = counts.broker === 0 && doneTasks(dir.file("runs")).size > tasks / 2;
      const choice = due ? 9 : random.below(10);
      if (choice < 5) {
        const i = random.below(WORKERS);
        const { name, process } = workers[i]!;
        await process.destroy();
        damages.push({ at: Date.now(), worker: name });
        workers[i] = startWorker();
        counts.workers++;
      } else if (choice < 9) {
        await proxy.cut();
        damages.push({ at: Date.now() });
        counts.connections++;
      } else {
        await broker.kill();
        damages.push({ at: Date.now() });
        await broker.start();
        counts.broker++;
      }
    }
    const dead = await settle(url, tasks, dir.file("runs"), started);
    console.log(
      `chaos: ${counts.workers} workers killed, broker killed ${counts.broker} times, ` +
        `connections cut ${counts.connections} times, ` +
        `${((performance.now() - started) / 1_000).toFixed(1)} s`,
    );
    return judge(tasks, parseRuns(await Deno.readTextFile(dir.file("runs"))), dead, damages);
  } finally {
    for (const { process } of workers) await process.destroy();
  }
}

/** Waits until every task has ended and all queues are empty. @returns the dead ones */
async function settle(
  url: string,
  tasks: number,
  file: string,
  started: number,
): Promise<Set<number>> {
  const dead = new Set<number>();
  const left = LIMIT_MS - (performance.now() - started);
  await waitUntil("every task to end", async () => {
    const numbers = new Set([...doneTasks(file), ...await peekDead(url, dead)]);
    return numbers.size === tasks ? true : numbers.size < tasks && await idle(url);
  }, left).catch((error) => console.log(`chaos: ${error.message}`));
  // Copies that crashes made are still under way; they are counted too.
  await waitUntil("the queues to be empty", () => idle(url), 60_000);
  return await peekDead(url, dead);
}

/** @returns how many tasks are lost, done without reason more than once, or not where they belong */
function judge(
  tasks: number,
  runs: readonly Run[],
  dead: ReadonlySet<number>,
  damages: readonly Damage[],
): number {
  const times = new Map<number, number>();
  for (const { task, end } of runs) {
    if (end === "done") times.set(task, (times.get(task) ?? 0) + 1);
  }
  const numbers = Array.from({ length: tasks }, (_, i) => i + 1);
  const lost = numbers.filter((number) => !times.has(number) && !dead.has(number));
  const strange = numbers.filter((number) => times.has(number) && number % 20 === 0);
  const repeated = [...times.values()].filter((count) => count > 1).length;
  const faults = unexplained(runs, damages);
  console.log(
    `chaos: ${times.size} done, ${dead.size} dead, lost ${lost.length}, done more than once ` +
      `${repeated}, of which no damage explains ${faults.length}`,
  );
  for (const [what, found] of Object.entries({ lost, strange, unexplained: faults })) {
    if (found.length > 0) console.log(`chaos: ${what}: ${found.slice(0, 20).join(" ")}`);
  }
  return lost.length + strange.length + faults.length;
}

async function publish(url: string, tasks: number): Promise<void> {
  const transport = await connect(url);
  await ensureDeclared(transport, workQueue(QUEUE));
  const publisher = await Publisher.open(transport);
  await Promise.all(Array.from({ length: tasks }, (_, i) =>
    publisher.publish({
      exchange: "",
      routingKey: QUEUE,
      body: new TextEncoder().encode(String(i + 1)),
      properties: { messageId: `task-${i + 1}`, deliveryMode: 2 },
    })));
  await transport.shutdown();
}

/** Nothing is ready, waiting or in anybody's hands. */
async function idle(url: string): Promise<boolean> {
  const transport = await connect(url);
  try {
    const names = [QUEUE, ...BACKOFF_MS.concat(1_000).map((ms) => delayQueue(QUEUE, ms).name)];
    for (let look = 0; look < 3; look++) {
      for (const name of names) {
        const state = await inspectQueue(transport, name).catch((error) => {
          if (error instanceof ToolError) return { messageCount: 0 };
          throw error;
        });
        if (state.messageCount > 0) return false;
      }
      // What is unacknowledged for a moment comes back to be seen in one of the looks.
      await pause(700);
    }
    return true;
  } finally {
    await transport.shutdown();
  }
}

/** Adds the numbers of dead tasks to `dead` and takes them from the queue. */
async function peekDead(url: string, dead: Set<number>): Promise<Set<number>> {
  const transport = await connect(url);
  try {
    await ensureDeclared(transport, deadQueue(QUEUE));
    const channel = await transport.openChannel();
    for (;;) {
      const message = await channel.basicGet(deadQueue(QUEUE).name, { noAck: true });
      if (message === null) return dead;
      dead.add(Number(message.bodyString()));
    }
  } finally {
    await transport.shutdown();
  }
}

async function connect(url: string): Promise<Transport> {
  const connector = new Connector({
    endpoints: parseUrls(url, "url", { trust: {} }),
    identity: { name: "chaos", version: "0" },
    log: createLogger({ name: "chaos", write: () => {} }),
  });
  return (await connector.connectForever(new AbortController().signal, true))!;
}

/** The tasks that were done at least once. */
function doneTasks(file: string): Set<number> {
  const done = Deno.readTextFileSync(file).matchAll(/^(\d+) done /gm);
  return new Set(Array.from(done, ([, number]) => Number(number)));
}

async function startBroker(kind: string): Promise<Victim> {
  if (kind === "rabbitmq") return await startRabbitmq();
  const { startBroker } = await import("../tests/support/embedded.ts");
  return await startBroker();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) Deno.exit(await main());
