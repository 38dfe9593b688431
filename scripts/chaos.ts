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
import { deadQueue, delayQueue, workQueue } from "../src/task/topology.ts";
import { spawnDeno, type TestProcess } from "../tests/support/process.ts";
import { Proxy } from "../tests/support/proxy.ts";
import { Random } from "../tests/support/random.ts";
import { startRabbitmq } from "../tests/support/rabbitmq.ts";
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

/** Counted while it runs. */
interface Damage {
  workersKilled: number;
  brokerKilled: number;
  connectionsCut: number;
}

/** What a run of the handler writes: one line to a file that only grows. */
const HANDLER = `
  const file = Deno.openSync(Deno.env.get("CHAOS_LOG"), { append: true });
  export default async (task, { attempt }) => {
    const number = Number(task.text());
    await new Promise((resolve) => setTimeout(resolve, number % 200));
    // Every 20th never works, every 5th works the second time.
    const end = number % 20 === 0 ? "failed" : number % 5 === 0 && attempt < 2 ? "failed" : "done";
    file.writeSync(new TextEncoder().encode(number + " " + end + "\\n"));
    if (end === "failed") throw new Error("as planned");
  };
`;

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, { string: ["broker", "tasks", "seed"] });
  const seed = Number(args.seed ?? crypto.getRandomValues(new Uint16Array(1))[0]);
  const tasks = Number(args.tasks ?? 2_000);
  const kinds = args.broker === undefined ? ["rabbitmq", "embedded"] : [String(args.broker)];
  let lost = 0;
  for (const kind of kinds) lost += await chaos(kind, tasks, seed);
  return lost === 0 ? 0 : 1;
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
  const damage: Damage = { workersKilled: 0, brokerKilled: 0, connectionsCut: 0 };
  const workers: TestProcess[] = [];
  function startWorker(): TestProcess {
    return spawnDeno(WORKER, {
      args: [
        ...["--queue", QUEUE, "--handler", dir.file("handler.js"), "--concurrency", "4"],
        ...["--max-attempts", "3", "--backoff", "100ms,200ms,400ms", "--max-crashes", "1000"],
      ],
      env: { AMQP_URL: proxy.url, CHAOS_LOG: dir.file("runs") },
      killOnDispose: true,
    });
  }
  for (let i = 0; i < WORKERS; i++) workers.push(startWorker());
  try {
    // Damage until most of the work is done, then peace, so that the end can be reached.
    while (
      ended(dir.file("runs")) < tasks * 0.9 && performance.now() - started < LIMIT_MS / 2
    ) {
      await pause(200 + random.below(800));
      // The broker dies at least once, with half of the work done.
      const due = damage.brokerKilled === 0 && ended(dir.file("runs")) > tasks / 2;
      const choice = due ? 9 : random.below(10);
      if (choice < 5) {
        const i = random.below(WORKERS);
        await workers[i]!.destroy();
        workers[i] = startWorker();
        damage.workersKilled++;
      } else if (choice < 9) {
        await proxy.cut();
        damage.connectionsCut++;
      } else {
        await broker.kill();
        await broker.start();
        damage.brokerKilled++;
      }
    }
    return await judge(url, tasks, dir.file("runs"), damage, started);
  } finally {
    for (const worker of workers) await worker.destroy();
  }
}

/** Waits until all queues are empty and counts. @returns how many tasks are lost */
async function judge(
  url: string,
  tasks: number,
  file: string,
  damage: Damage,
  started: number,
): Promise<number> {
  const dead = new Set<number>();
  const left = LIMIT_MS - (performance.now() - started);
  await waitUntil("every task to end", async () => {
    const numbers = new Set([...doneRuns(file).keys(), ...await peekDead(url, dead)]);
    return numbers.size === tasks ? true : numbers.size < tasks && await idle(url);
  }, left).catch((error) => console.log(`chaos: ${error.message}`));
  // Copies that crashes made are still under way; they are counted too.
  await waitUntil("the queues to be empty", () => idle(url), 60_000);
  await peekDead(url, dead);
  const done = doneRuns(file);
  let lost = 0;
  for (let number = 1; number <= tasks; number++) {
    if (!done.has(number) && !dead.has(number)) lost++;
  }
  const repeated = [...done.values()].filter((runs) => runs > 1).length;
  const crashes = damage.workersKilled + damage.brokerKilled + damage.connectionsCut;
  // Each crash can repeat what was in the hands of the workers it struck.
  const explained = WORKERS * 4 * crashes;
  console.log(
    `chaos: ${damage.workersKilled} workers killed, broker killed ${damage.brokerKilled} times, ` +
      `connections cut ${damage.connectionsCut} times, ` +
      `${((performance.now() - started) / 1_000).toFixed(1)} s`,
  );
  console.log(
    `chaos: ${done.size} done, ${dead.size} dead, lost ${lost}, done more than once ${repeated} ` +
      `(crashes explain up to ${explained})`,
  );
  return lost + Math.max(0, repeated - explained);
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

/** How often each task was done. */
function doneRuns(file: string): Map<number, number> {
  const runs = new Map<number, number>();
  for (const [, number] of Deno.readTextFileSync(file).matchAll(/^(\d+) done$/gm)) {
    runs.set(Number(number), (runs.get(Number(number)) ?? 0) + 1);
  }
  return runs;
}

function ended(file: string): number {
  return doneRuns(file).size;
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
