/**
 * Side-by-side measurements on private brokers of this machine, each in turn with the others.
 *
 *   deno task bench                                      everything
 *   deno task bench one-shot idle                        some sections
 *   deno task bench throughput --count 20000 --rounds 1  smaller
 *   deno task bench broker --before ../other             another checkout in turn with this one
 *   deno task bench forward                              worker forward, to our broker and to RabbitMQ
 *   deno task bench binaries                             size and start of what dist/ has; no broker
 *   deno task bench --report                             all peers; writes docs/benchmarks.md (35 minutes)
 *   deno task bench --report --short                     the same in at most 12 minutes
 *   deno task bench --report --tiny --out FOLDER         whether it works
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { goMissing } from "../tests/support/foreign.ts";
import { rabbitmqMissing, startRabbitmq } from "../tests/support/rabbitmq.ts";
import { tempDir } from "../tests/support/temp.ts";
import { buildGoPeer, buildNiceGoPeer, gccMissing, ourPeer } from "./bench/contestants.ts";
import { benchBinaries, binariesMissing } from "./bench/binaries.ts";
import { benchBroker } from "./bench/broker.ts";
import { benchForward } from "./bench/forward.ts";
import { ownBrokerMissing } from "./brokers.ts";
import { benchIdle } from "./bench/idle.ts";
import { benchSlowDisk } from "./bench/slow_disk.ts";
import { benchOneShot } from "./bench/one_shot.ts";
import { benchWorker } from "./bench/worker.ts";
import { benchThroughput } from "./bench/throughput.ts";

const SECTIONS = [
  "one-shot",
  "throughput",
  "worker",
  "idle",
  "broker",
  "forward",
  "slow-disk",
  "binaries",
] as const;
type Section = typeof SECTIONS[number];
const USAGE = `Usage: deno task bench [--count N] [--rounds N] [--before FOLDER] [${
  SECTIONS.join("|")
}]...
       deno task bench --report [--short | --tiny] [--out FOLDER]`;

function say(line: string): void {
  console.log(line);
}

async function main(): Promise<void> {
  const { sections, count, rounds, before, report } = parseOptions(Deno.args);
  if (report !== undefined) {
    const { writeReport } = await import("./bench/report/main.ts");
    return await writeReport(report.size, report.out, say);
  }
  if (sections.every((section) => section === "binaries")) {
    const missing = binariesMissing();
    if (missing) throw new Error(missing);
    return await benchBinaries(rounds ?? 15, say);
  }
  const missing = rabbitmqMissing ?? goMissing;
  if (missing !== undefined) throw new Error(`compares with RabbitMQ and amqp091-go: ${missing}`);
  await using folder = await tempDir("bench-");
  await using node = await startRabbitmq();
  const goPeer = await buildGoPeer(folder.path);
  const bulk = { count, rounds: rounds ?? 3 };
  const benches: Record<Section, () => Promise<void>> = {
    "one-shot": () => benchOneShot(node.url, folder.path, rounds ?? 15, say),
    throughput: () => benchThroughput(node.url, [ourPeer, goPeer], bulk, say),
    worker: () => benchWorker(node.url, { count: Math.ceil(count / 2), rounds: rounds ?? 3 }, say),
    idle: () => benchIdle(node.url, say),
    broker: async () => {
      const missing = await ownBrokerMissing() ?? gccMissing;
      if (missing) say(`left out: ${missing}`);
      else await benchBroker(goPeer, folder.path, { ...bulk, before }, say);
    },
    forward: async () => {
      const missing = await ownBrokerMissing();
      if (missing) say(`left out: ${missing}`);
      // Enough tasks for some seconds, beside which the start of the forwarder is short.
      else await benchForward(folder.path, { ...bulk, count: 4 * count, before }, say);
    },
    "slow-disk": async () => {
      const missing = await ownBrokerMissing();
      if (missing) say(`left out: ${missing}`);
      else {
        const peer = await buildNiceGoPeer(folder.path);
        await benchSlowDisk(peer, folder.path, { ...bulk, before }, say);
      }
    },
    binaries: async () => {
      const missing = binariesMissing();
      if (missing) say(`left out: ${missing}`);
      else await benchBinaries(rounds ?? 15, say);
    },
  };
  const version = await node.rabbitmqctl("version");
  say(`${navigator.hardwareConcurrency} cores, Deno ${Deno.version.deno}, RabbitMQ ${version}`);
  for (const section of sections) {
    say(`\n## ${section}\n`);
    await benches[section]();
  }
}

function parseOptions(args: readonly string[]) {
  const parsed = parseArgs(args, {
    string: ["count", "rounds", "before", "out"],
    boolean: ["report", "short", "tiny"],
    unknown: (arg, key) =>
      key === undefined ? true : refuse(`the option "${arg}" is not known\n${USAGE}`),
  });
  const sections = parsed._ as Section[];
  const wrong = sections.find((section) => !SECTIONS.includes(section));
  if (wrong !== undefined) {
    refuse(`a section must be one of ${SECTIONS.join(", ")}, not ${wrong}\n${USAGE}`);
  }
  return {
    sections: sections.length > 0 ? sections : SECTIONS,
    count: positive("count", parsed.count) ?? 100_000,
    rounds: positive("rounds", parsed.rounds),
    before: parsed.before as string | undefined,
    report: parsed.report
      ? {
        size: parsed.tiny ? "tiny" as const : parsed.short ? "short" as const : "full" as const,
        out: (parsed.out as string | undefined) ?? new URL("../docs", import.meta.url).pathname,
      }
      : undefined,
  };
}

function positive(name: string, text: unknown): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  refuse(`--${name} must be a whole number above 0, and is "${text}"`);
}

function refuse(sentence: string): never {
  console.error(`bench: ${sentence}`);
  Deno.exit(1);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
  }
}
