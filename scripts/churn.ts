/**
 * Churn: workers come and go, in every way a worker can end, while tasks flow through several
 * queues. Every task must be done once, unless something that was killed or cut explains another
 * time, and none may be dead that was not tried, or crashed its workers, as often as it may.
 *
 *   deno run -A scripts/churn.ts [--broker rabbitmq|embedded] [--tasks 2000] [--lives 200]
 *     [--seed N]
 *
 * Prints the seed: the same seed makes the same choices (the machine's timing still differs).
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { ensureQueue } from "../src/amqp/declare.ts";
import { Publisher } from "../src/amqp/publisher.ts";
import type { Transport } from "../src/amqp/transport.ts";
import { HEADER } from "../src/task/headers.ts";
import { deadQueue, workQueue } from "../src/task/topology.ts";
import { startBroker } from "../tests/support/embedded.ts";
import { spawnDeno, type TestProcess } from "../tests/support/process.ts";
import { Proxy } from "../tests/support/proxy.ts";
import { Random, seedOf } from "../tests/support/random.ts";
import { startRabbitmq } from "../tests/support/rabbitmq.ts";
import { tempDir } from "../tests/support/temp.ts";
import { waitUntil } from "../tests/support/wait.ts";
import { type Damage, parseRuns, type Run, unexplained } from "./chaos/duplicates.ts";
import { connectorTo, onBrokers } from "./on_brokers.ts";

const WORKER = new URL("../src/worker.ts", import.meta.url);
const QUEUES = ["churn-a", "churn-b", "churn-c"];
/** Workers at the same time. */
const SLOTS = 4;
const MOST_PREFETCH = 50;
const MAX_ATTEMPTS = 3;
const MAX_CRASHES = 3;
/** The tasks of one life, for which there are no workers any more, are waited for so long. */
const SETTLE_MS = 120_000;
/** A life that has not ended by itself is ended. */
const LIFE_MS = 8_000;

/** A run writes when it begins and how it ends, to a file that only grows. */
const HANDLER = `
  const file = Deno.openSync(Deno.env.get("CHURN_LOG"), { append: true });
  const worker = Deno.env.get("CHURN_WORKER");
  function note(number, what) {
    file.writeSync(new TextEncoder().encode([number, what, worker, Date.now()].join(" ") + "\\n"));
  }
  export default async (task, { attempt, signal }) => {
    const number = Number(task.text());
    note(number, "begin");
    await new Promise((resolve, reject) => {
      setTimeout(resolve, number * 7 % 400);
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    const end = number % 20 === 0 ? "failed" : number % 5 === 0 && attempt < 2 ? "failed" : "done";
    note(number, end);
    if (end === "failed") throw new Error("as planned");
  };
`;

/** How a worker's life ends: by its options, or by what is done to it some time after its start. */
interface Ending {
  readonly args?: readonly string[];
  readonly afterMs?: number;
  readonly signals?: readonly Deno.Signal[];
  /** How often its connections are cut before. */
  readonly cuts?: number;
}

function chooseEnding(random: Random): Ending {
  const afterMs = 100 + random.below(2_000);
  return random.pick<() => Ending>([
    () => ({ args: ["--max-tasks", String(1 + random.below(20))] }),
    () => ({ args: ["--max-runtime", `${100 + random.below(1_500)}ms`] }),
    () => ({ args: ["--idle-timeout", "300ms"] }),
    () => ({ args: ["--exit-when-empty"] }),
    () => ({ afterMs, signals: [random.pick<Deno.Signal>(["SIGTERM", "SIGINT", "SIGHUP"])] }),
    () => ({ afterMs, signals: ["SIGTERM"], args: ["--grace", "50ms"] }),
    // Before a worker has a listener for it, SIGTSTP stops the process.
    () => ({ afterMs, signals: ["SIGTSTP", "SIGTERM", "SIGCONT"] }),
    () => ({ afterMs, signals: ["SIGTERM", "SIGTERM"] }),
    () => ({ afterMs, signals: ["SIGQUIT"] }),
    () => ({ afterMs, signals: ["SIGKILL"] }),
    () => ({ afterMs, signals: ["SIGKILL"] }),
    () => ({ afterMs, signals: ["SIGTERM"], cuts: 1 + random.below(3) }),
    () => ({ afterMs, signals: ["SIGKILL"], cuts: 1 }),
    () => ({ args: ["--max-tasks", "30", "--on-disconnect", "kill"], cuts: 2 }),
  ])();
}

/** Everything that happens on one broker. */
class Churn {
  readonly damages: Damage[] = [];
  readonly faults: string[] = [];
  readonly #random: Random;
  readonly #port: number;
  readonly #dir: { file(name: string): string };
  #lives = 0;

  constructor(random: Random, port: number, dir: { file(name: string): string }) {
    this.#random = random;
    this.#port = port;
    this.#dir = dir;
  }

  /** One worker from its start to its end. */
  async live(): Promise<void> {
    const random = this.#random;
    const name = `worker-${++this.#lives}`;
    const first = random.below(QUEUES.length);
    const queues = QUEUES.slice(first, first + 1 + random.below(QUEUES.length - first));
    const prefetch = Math.max(queues.length, 1 + random.below(MOST_PREFETCH));
    const { args = [], afterMs, signals = [], cuts = 0 } = chooseEnding(random);
    await using proxy = await Proxy.start(this.#port);
    await using process = this.start(name, proxy.url, queues, prefetch, args);
    const from = Date.now();
    const ended = process.ended(60_000).catch((error) => error as Error);
    for (let cut = 0; cut < cuts; cut++) {
      if (await over(ended, 200 + random.below(1_000))) break;
      const at = Date.now();
      await proxy.cut();
      this.damages.push({ what: "connections", worker: name, from: at, to: Date.now() });
    }
    if (afterMs !== undefined && !await over(ended, afterMs)) {
      const abrupt = signals.length > 1 && signals[0] !== "SIGTSTP" ||
        ["SIGKILL", "SIGQUIT"].includes(signals[0]!);
      const at = Date.now();
      for (const signal of signals) {
        process.kill(signal);
        await over(ended, 20);
      }
      if (abrupt) {
        await ended;
        this.damages.push({ what: "worker", worker: name, from: at, to: Date.now() });
      }
    }
    if (!await over(ended, LIFE_MS)) process.kill("SIGTERM");
    const output = await ended;
    if (output instanceof Error) {
      this.faults.push(`${name} (${args.join(" ")} ${signals}) did not end: ${output.message}`);
      return;
    }
    const { code, stderr } = output;
    // A signal that comes before its listener is there, or the second one.
    const away = code === 75 && /could not be reached within --max-runtime/.test(stderr);
    // Its connection was cut: what it had finished runs once more.
    const unacknowledged = code === 75 && /before a finished task was acknowledged/.test(stderr);
    const expected = code === 0 || away || unacknowledged || signals.length > 0 && code > 128;
    if (!expected || /fault in this program/.test(stderr)) {
      this.faults.push(`${name} (${args.join(" ")} ${signals}) ended with ${code}: ${stderr}`);
      this.damages.push({ what: "worker", worker: name, from, to: Date.now() });
    } else if (code > 128 || unacknowledged) {
      this.damages.push({ what: "worker", worker: name, from, to: Date.now() });
    }
  }

  start(
    name: string,
    url: string,
    queues: readonly string[],
    prefetch: number,
    args: readonly string[],
  ): TestProcess {
    return spawnDeno(WORKER, {
      args: [
        ...["--queue", queues.join(","), "--concurrency", String(prefetch)],
        ...["--handler", this.#dir.file("handler.js"), "--backoff", "50ms,100ms"],
        ...["--max-attempts", String(MAX_ATTEMPTS), "--max-crashes", String(MAX_CRASHES), ...args],
      ],
      env: { AMQP_URL: url, CHURN_LOG: this.#dir.file("runs"), CHURN_WORKER: name },
      killOnDispose: true,
    });
  }
}

async function churn(kind: string, tasks: number, lives: number, seed: number): Promise<number> {
  console.log(`churn: ${kind}, ${tasks} tasks, ${lives} lives of workers, seed ${seed}`);
  const random = new Random(seed);
  await using dir = await tempDir("churn-");
  await using broker = kind === "rabbitmq" ? await startRabbitmq() : await startBroker();
  await Deno.writeTextFile(dir.file("handler.js"), HANDLER);
  await Deno.writeTextFile(dir.file("runs"), "");
  const started = performance.now();
  const transport = await connectorTo(broker.url, "churn").connect();
  for (const queue of QUEUES) {
    await ensureQueue(transport, workQueue(queue));
    await ensureQueue(transport, deadQueue(queue));
  }
  const publisher = await Publisher.open(transport);
  let sent = 0;
  /** Sends on until there are so many. */
  async function sendUntil(count: number): Promise<void> {
    const publications: Promise<void>[] = [];
    while (sent < Math.min(count, tasks)) {
      const number = ++sent;
      publications.push(publisher.publish({
        exchange: "",
        routingKey: QUEUES[number % QUEUES.length]!,
        body: new TextEncoder().encode(String(number)),
        properties: { messageId: `task-${number}`, deliveryMode: 2 },
      }));
    }
    await Promise.all(publications);
  }
  const churn = new Churn(random, broker.port, dir);
  let left = lives;
  await sendUntil(tasks / 10);
  await Promise.all(Array.from({ length: SLOTS }, async () => {
    while (left-- > 0) {
      await sendUntil(sent + Math.ceil(tasks * 0.9 / lives));
      await churn.live();
    }
  }));
  await sendUntil(tasks);

  const runs = () => parseRuns(Deno.readTextFileSync(dir.file("runs")));
  const dead = new Map<number, string[]>();
  await using last = churn.start("last", broker.url, QUEUES, MOST_PREFETCH, []);
  await waitUntil("every task to end", async () => {
    await takeDead(transport, dead);
    const ended = runs().filter(({ end }) => end === "done").map(({ task }) => task);
    return new Set([...ended, ...dead.keys()]).size === tasks;
  }, SETTLE_MS).catch((error) => console.log(`churn: ${error.message}`));
  last.kill();
  await last.ended(60_000);
  await takeDead(transport, dead);
  await transport.shutdown();
  console.log(`churn: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  return judge(tasks, runs(), dead, churn);
}

/** @returns how much is wrong */
function judge(
  tasks: number,
  runs: readonly Run[],
  dead: ReadonlyMap<number, readonly string[]>,
  { damages, faults }: Churn,
): number {
  const byTask = Map.groupBy(runs, ({ task }) => task);
  const numbers = Array.from({ length: tasks }, (_, i) => i + 1);
  const count = (task: number, end: Run["end"]) =>
    byTask.get(task)?.filter((run) => run.end === end).length ?? 0;
  const lost = numbers.filter((task) => count(task, "done") === 0 && !dead.has(task));
  const untried = [...dead].filter(([task, reasons]) =>
    reasons.some((reason) => {
      if (reason === "max-attempts") return count(task, "failed") < MAX_ATTEMPTS;
      // Each was begun, and its worker killed or cut.
      return reason !== "crash-loop" || count(task, "none") < MAX_CRASHES - 1;
    })
  ).map(([task, reasons]) => `${task} (${reasons}): ${JSON.stringify(byTask.get(task) ?? [])}`);
  const deaths = new Map([...dead].map(([task, reasons]) => [task, reasons.length]));
  const repeated = unexplained({ runs, deaths, damages, concurrency: MOST_PREFETCH });
  const loops = [...dead.values()].flat().filter((reason) => reason === "crash-loop").length;
  const done = numbers.filter((task) => count(task, "done") > 0).length;
  console.log(
    `churn: ${done} done, ${dead.size} dead (${loops} crash loops), lost ${lost.length}, dead ` +
      `untried ${untried.length}, repeated without reason ${repeated.length}, ` +
      `workers that ended wrongly ${faults.length}; ${runs.length} runs, ${damages.length} damages`,
  );
  const told = repeated.map((task) => `${task}: ${JSON.stringify(byTask.get(task))}`);
  for (const [what, found] of Object.entries({ lost, untried, repeated: told, faults })) {
    if (found.length > 0) console.log(`churn: ${what}: ${found.slice(0, 20).join("\n")}`);
  }
  return lost.length + untried.length + repeated.length + faults.length;
}

/** Takes what is in the dead queues, with the reasons. */
async function takeDead(transport: Transport, dead: Map<number, string[]>): Promise<void> {
  const channel = await transport.openChannel();
  for (const queue of QUEUES) {
    for (;;) {
      const message = await channel.basicGet(deadQueue(queue).name, { noAck: true });
      if (message === null) break;
      const number = Number(message.bodyString());
      const reason = String(message.properties.headers?.[HEADER.deadReason]);
      dead.set(number, [...dead.get(number) ?? [], reason]);
    }
  }
  await channel.close();
}

/** Whether a process has ended before so much time has passed. */
async function over(ended: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), ms));
  return await Promise.race([ended.then(() => true), late]).finally(() => clearTimeout(timer));
}

async function main(): Promise<number> {
  const { values: args } = parseArgs({
    args: Deno.args,
    options: {
      broker: { type: "string" },
      tasks: { type: "string" },
      lives: { type: "string" },
      seed: { type: "string" },
    },
  });
  const seed = seedOf(args.seed);
  const tasks = Number(args.tasks ?? 2_000);
  const lives = Number(args.lives ?? 200);
  return await onBrokers("churn", args.broker, (kind) => churn(kind, tasks, lives, seed));
}

if (import.meta.main) Deno.exit(await main());
