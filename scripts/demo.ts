/**
 * The tutorial in one command: two workers share five tasks, and it ends by itself.
 *
 * Uses the broker at AMQP_URL; without it, one of its own for as long as the demo lasts.
 */
// deno-lint-ignore-file no-console
import { Connector } from "../src/amqp/connection.ts";
import { parseUrls, redact } from "../src/amqp/url.ts";
import { ToolError } from "../src/errors.ts";
import { createLogger } from "../src/observe/log.ts";
import { rabbitmqMissing } from "../tests/support/rabbitmq.ts";
import {
  ownBrokerMissing,
  type RunningBroker,
  startOwnBroker,
  startRabbitmqBroker,
} from "./brokers.ts";
import { programOf } from "./program.ts";
import { commandOf } from "./tasks.ts";

const TASKS = [
  "First message.",
  "Second message..",
  "Third message...",
  "Fourth message....",
  "Fifth message.....",
];
/** A dot is a second of work: two workers need 9 seconds. */
const LIMIT_MS = 60_000;

const root = new URL("../", import.meta.url);
const colourful = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");

/** Something the user can change: told in one sentence. */
class DemoError extends Error {}

async function main(): Promise<void> {
  await using broker = await openBroker();
  const endpoints = parseUrls(broker.url, "AMQP_URL");
  const connector = new Connector({
    endpoints,
    identity: { name: "demo", version: "" },
    log: createLogger({ name: "demo", write: (text) => console.error(text.trimEnd()) }),
  });
  const queue = `demo-${crypto.randomUUID().slice(0, 8)}`;
  // Ends with the reason when the broker cannot be used, before anything is started.
  await (await connector.connect()).shutdown();
  console.log(`Broker: ${broker.name} at ${endpoints.map(redact).join(", ")}`);
  console.log(`Queue:  ${queue}\n`);

  const [worker, new_task] = await Promise.all([programOf("worker"), programOf("new_task")]);
  const show = new Show({ worker, new_task }, { AMQP_URL: broker.url, WORK_QUEUE: queue });
  const limit = setTimeout(() => show.fail("took too long"), LIMIT_MS);
  const interrupt = () => show.fail("interrupted");
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    const workers = [show.worker("worker 1", 36), show.worker("worker 2", 35)];
    await show.until(() => workers.every((worker) => worker.lines.some(isBanner)));
    for (const task of TASKS) await show.newTask(task);
    await show.until(() => workers.flatMap((worker) => worker.lines.filter(isDone)).length === 5);
    await show.stop();
    console.log(`\n${summary(workers, show.seconds)}`);
  } finally {
    clearTimeout(limit);
    Deno.removeSignalListener("SIGINT", interrupt);
    await show.stop();
    const transport = await connector.connect();
    await (await transport.openChannel()).queueDelete(queue);
    await transport.shutdown();
  }
}

async function openBroker(): Promise<RunningBroker> {
  const url = Deno.env.get("AMQP_URL");
  if (url) return { name: "yours", url, [Symbol.asyncDispose]: () => Promise.resolve() };
  if (await ownBrokerMissing() === undefined) {
    const command = commandOf("broker", await programOf("broker"));
    return await startOwnBroker(["--transient"], command);
  }
  if (rabbitmqMissing !== undefined) {
    throw new DemoError(
      "needs a broker: set AMQP_URL to the URL of one, or install rabbitmq-server",
    );
  }
  console.log("Starting a private RabbitMQ node ...");
  return await startRabbitmqBroker();
}

/** One of our programs, running. */
interface Actor {
  readonly name: string;
  /** What it has said on stdout and stderr. */
  readonly lines: string[];
  readonly child: Deno.ChildProcess;
  /** Resolves when it has ended and all its lines are there. */
  readonly ended: Promise<Deno.CommandStatus>;
}

/** Runs the programs and prints what they say, each line with the time and the name. */
class Show {
  /** Where they are, from the project's folder. */
  readonly #programs: { readonly worker: string; readonly new_task: string };
  readonly #env: Record<string, string>;
  readonly #started = performance.now();
  readonly #workers: Actor[] = [];
  #failure: string | undefined;
  #stopping = false;
  /** Wakes `until`. */
  #changed = Promise.withResolvers<void>();

  constructor(
    programs: { readonly worker: string; readonly new_task: string },
    env: Record<string, string>,
  ) {
    this.#programs = programs;
    this.#env = env;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  worker(name: string, colour: number): Actor {
    const worker = this.#start(name, colour, "worker", []);
    this.#workers.push(worker);
    worker.ended.then(() => this.#stopping || this.fail(`ended too early: ${name}`));
    return worker;
  }

  async newTask(text: string): Promise<void> {
    const { success } = await this.#start("new_task", 33, "new_task", text.split(" ")).ended;
    if (!success) throw new DemoError(`stopped: "${text}" was not sent`);
  }

  /** Waits for something that depends on the lines said. */
  async until(happened: () => boolean): Promise<void> {
    while (!happened()) {
      if (this.#failure !== undefined) throw new DemoError(this.#failure);
      await this.#changed.promise;
    }
  }

  fail(reason: string): void {
    this.#failure ??= reason;
    this.#change();
  }

  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const { child } of this.#workers) child.kill("SIGTERM");
    await Promise.all(this.#workers.map((worker) => worker.ended));
  }

  #start(name: string, colour: number, program: "worker" | "new_task", args: string[]): Actor {
    const [deno, ...first] = commandOf(program, this.#programs[program]) as [string, ...string[]];
    const child = new Deno.Command(deno, {
      args: [...first, ...args],
      cwd: root,
      env: this.#env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const lines: string[] = [];
    const print = async (stream: ReadableStream<Uint8Array>) => {
      for await (const line of linesOf(stream)) {
        lines.push(line);
        const time = `${this.seconds.toFixed(1).padStart(4)} s`;
        console.log(`${time}  ${paint(name.padEnd(8), colour)} ${line}`);
        this.#change();
      }
    };
    const ended = Promise.all([child.status, print(child.stdout), print(child.stderr)])
      .then(([status]) => status);
    return { name, lines, child, ended };
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

function summary(workers: readonly Actor[], seconds: number): string {
  const shares = workers.map(({ name, lines }) => {
    const tasks = lines.filter((line) => line.includes("[x] Received")).map((line) =>
      line.split(" ")[3]!.toLowerCase()
    );
    return `${name} did ${tasks.length} (${tasks.join(", ")})`;
  });
  const dots = TASKS.join("").split(".").length - 1;
  return `${TASKS.length} tasks, ${dots} seconds of work, done in ${seconds.toFixed(1)} seconds: ` +
    `${shares.join(", ")}.`;
}

function isBanner(line: string): boolean {
  return line.startsWith(" [*] Waiting");
}

function isDone(line: string): boolean {
  return line === " [x] Done";
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

function paint(text: string, colour: number): string {
  return colourful ? `\x1b[${colour}m${text}\x1b[0m` : text;
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof DemoError || error instanceof ToolError)) throw error;
    console.error(`demo: ${error.message}`);
    Deno.exit(error instanceof ToolError ? error.exitCode : 1);
  }
}
