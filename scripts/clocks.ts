/**
 * Clocks: sender, worker and broker each believe in another time, which is set while they run. No
 * delay and no pause may be shorter than asked, and none longer by more than 1.5 s.
 *
 *   deno run -A scripts/clocks.ts [--broker rabbitmq|embedded] [--short]
 *     [--late MILLISECONDS]
 *
 * Needs gcc: a library of a few lines puts the wall clock of one process off. RabbitMQ's own clock
 * is left alone: what it does when that is set is its own affair.
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { type EmbeddedBroker, startBroker } from "../tests/support/embedded.ts";
import { run, spawnDeno } from "../tests/support/process.ts";
import { startRabbitmq } from "../tests/support/rabbitmq.ts";
import { type TempDir, tempDir } from "../tests/support/temp.ts";
import { onBrokers } from "./on_brokers.ts";

const ENTRIES = new URL("../src/", import.meta.url).pathname;
const SHIM = new URL("clocks/set_clock.c", import.meta.url).pathname;
/** Waited for in several delay queues one after the other. */
const DELAY_MS = 3_300;
const PAUSE_MS = 2_000;
const MOST_LATE_MS = 1_500;
/** For what comes late from a process that the test listens to. */
const HEARING_MS = 100;

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

/** How far the clocks are off, in seconds: at first, while a task waits, and during its pause. */
interface Case {
  readonly sender: number;
  readonly worker: readonly [number, number, number];
  readonly broker: readonly [number, number, number];
}

const SHORT: readonly Case[] = [
  { sender: -DAY, worker: [HOUR, MINUTE, DAY], broker: [MINUTE, -HOUR, DAY] },
  { sender: HOUR, worker: [-DAY, MINUTE, -HOUR], broker: [0, DAY, -DAY] },
];

function allCases(): Case[] {
  const cases: Case[] = [...SHORT];
  for (const step of [MINUTE, HOUR, DAY].flatMap((seconds) => [seconds, -seconds])) {
    const still = [step, step, step] as const;
    const right = [0, 0, 0] as const;
    const set = [0, step, -step] as const;
    cases.push(
      { sender: step, worker: right, broker: right },
      { sender: 0, worker: still, broker: right },
      { sender: 0, worker: right, broker: still },
      { sender: 0, worker: set, broker: right },
      { sender: 0, worker: right, broker: set },
    );
  }
  return cases;
}

/** What works, how a task is given to it, and what it prints when it begins a run. */
const KINDS = {
  command: {
    args: ["--output", "inherit", "--", "sh", "-c", "echo run; test $TASK_ATTEMPT -gt 1"],
    runs: 2,
    line: /^run$/,
  },
  handler: { args: ["--handler", "HANDLER"], runs: 2, line: /^run$/ },
  dots: { args: [], runs: 1, line: /Received x/ },
} as const;

const HANDLER = `export default (task, { attempt }) => {
  console.log("run");
  if (attempt < 2) throw new Error("again");
};`;

/** A process whose clock can be set. */
class Clock {
  readonly env: Record<string, string>;
  readonly #file: string;

  constructor(dir: TempDir, library: string, name: string, seconds: number) {
    this.#file = dir.file(`${name}.offset`);
    this.env = { LD_PRELOAD: library, CLOCK_OFFSET_FILE: this.#file };
    this.set(seconds);
  }

  /** In one step: a half-written file would be another time. */
  set(seconds: number): void {
    Deno.writeTextFileSync(`${this.#file}.new`, String(seconds));
    Deno.renameSync(`${this.#file}.new`, this.#file);
  }
}

interface Lateness {
  readonly what: string;
  /** Beyond what was asked for, in milliseconds. */
  readonly least: number;
  readonly most: number;
}

async function tryCase(
  { sender, worker, broker }: Case,
  dir: TempDir,
  library: string,
  name: string,
  rabbitmqUrl: string | undefined,
): Promise<Lateness[]> {
  const brokerClock = new Clock(dir, library, `${name}-broker`, broker[0]);
  const own = rabbitmqUrl === undefined ? await startBroker({ env: brokerClock.env }) : undefined;
  await using _: EmbeddedBroker | undefined = own;
  const url = rabbitmqUrl ?? own!.url;
  const clocks: Clock[] = [];
  const setAll = (stage: 1 | 2) => {
    for (const clock of clocks) clock.set(worker[stage]);
    brokerClock.set(broker[stage]);
  };
  const found = await Promise.all(
    Object.entries(KINDS).map(async ([kind, { args, runs, line }]) => {
      const queue = `${name}-${kind}`;
      const clock = new Clock(dir, library, queue, worker[0]);
      clocks.push(clock);
      await using process = spawnDeno(`${ENTRIES}worker.ts`, {
        args: [
          ...["--queue", queue, "--backoff", `${PAUSE_MS}ms`],
          ...args.map((arg) => arg === "HANDLER" ? dir.file("handler.js") : arg),
        ],
        env: { ...clock.env, AMQP_URL: url },
      });
      await process.waitForLine(/Waiting for messages/);
      const before = performance.now();
      await using sending = spawnDeno(`${ENTRIES}new_task.ts`, {
        args: ["--queue", queue, "--delay", `${DELAY_MS}ms`, "x"],
        env: { ...new Clock(dir, library, `${queue}-sender`, sender).env, AMQP_URL: url },
      });
      const sent = await sending.ended();
      if (sent.code !== 0) throw new Error(sent.stderr);
      const after = performance.now();
      setAll(1);
      await process.waitForLine(line);
      const first = performance.now();
      setAll(2);
      const latenesses: Lateness[] = [{
        what: `${kind} delay`,
        least: first - before - DELAY_MS,
        most: first - after - DELAY_MS,
      }];
      if (runs > 1) {
        const seen = process.stdout.findIndex((text) => line.test(text)) + 1;
        await process.waitForLine(line, undefined, seen);
        const passed = performance.now() - first;
        // Up to a fifth of the pause is random.
        latenesses.push({
          what: `${kind} pause`,
          least: passed + HEARING_MS - PAUSE_MS,
          most: passed - PAUSE_MS * 1.2,
        });
      }
      process.kill();
      const { code, stderr } = await process.ended();
      if (code !== 0) throw new Error(`the worker ended with ${code}: ${stderr}`);
      return latenesses;
    }),
  );
  return found.flat();
}

async function main(): Promise<number> {
  const { values: args } = parseArgs({
    args: Deno.args,
    options: {
      broker: { type: "string" },
      late: { type: "string" },
      short: { type: "boolean" },
    },
  });
  // A machine that is busy with other things is late by itself.
  const mostLate = Number(args.late ?? MOST_LATE_MS);
  await using dir = await tempDir("clocks-");
  await Deno.writeTextFile(dir.file("handler.js"), HANDLER);
  const library = dir.file("set_clock.so");
  const gcc = await run("gcc", { args: ["-shared", "-fPIC", "-O2", "-o", library, SHIM] });
  if (gcc.code !== 0) throw new Error(gcc.stderr);
  return await onBrokers("clocks", args.broker, async (kind) => {
    await using node = kind === "rabbitmq" ? await startRabbitmq() : undefined;
    let faults = 0;
    for (const [index, each] of (args.short ? SHORT : allCases()).entries()) {
      const found = await tryCase(each, dir, library, `${kind}-${index}`, node?.url);
      const about = `${kind}, ${JSON.stringify(each)}`;
      faults += judge(found, mostLate, about);
    }
    return faults;
  });
}

/** @returns how many are wrong */
function judge(found: readonly Lateness[], mostLate: number, about: string): number {
  const wrong = found.filter(({ least, most }) => least < 0 || most > mostLate);
  const latest = Math.max(...found.map(({ most }) => most));
  console.log(
    `clocks: ${about}: ${wrong.length} wrong, at most ${Math.round(latest)} ms late`,
  );
  for (const { what, least, most } of wrong) {
    console.log(`clocks: wrong: ${what}, ${Math.round(least)} to ${Math.round(most)} ms late`);
  }
  return wrong.length;
}

if (import.meta.main) Deno.exit(await main());
