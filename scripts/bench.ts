/**
 * Side-by-side measurements on private brokers of this machine, each in turn with the others.
 *
 *   deno task bench                                      everything
 *   deno task bench one-shot idle                        some sections
 *   deno task bench throughput --count 20000 --rounds 1  smaller
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { startRabbitmq } from "../tests/support/rabbitmq.ts";
import { tempDir } from "../tests/support/temp.ts";
import { buildGoPeer, ourPeer } from "./bench/contestants.ts";
import { benchIdle } from "./bench/idle.ts";
import { benchOneShot } from "./bench/one_shot.ts";
import { benchThroughput } from "./bench/throughput.ts";

const SECTIONS = ["one-shot", "throughput", "idle"];
const USAGE = `Usage: deno task bench [--count N] [--rounds N] [${SECTIONS.join("|")}]...`;

function say(line: string): void {
  console.log(line);
}

async function main(): Promise<void> {
  const { sections, count, rounds } = parseOptions(Deno.args);
  await using folder = await tempDir("bench-");
  await using node = await startRabbitmq();
  say(`${navigator.hardwareConcurrency} cores, Deno ${Deno.version.deno}, RabbitMQ ${await node
    .rabbitmqctl("version")}`);
  for (const section of sections) {
    say(`\n## ${section}\n`);
    if (section === "one-shot") await benchOneShot(node.url, folder.path, rounds ?? 15, say);
    if (section === "throughput") {
      const peers = [ourPeer, await buildGoPeer(folder.path)];
      await benchThroughput(node.url, peers, { count, rounds: rounds ?? 3 }, say);
    }
    if (section === "idle") await benchIdle(node.url, say);
  }
}

function parseOptions(args: readonly string[]) {
  const parsed = parseArgs(args, {
    string: ["count", "rounds"],
    unknown: (arg, key) => key === undefined ? true : refuse(`the option "${arg}" is not known`),
  });
  const sections = parsed._.map(String);
  const wrong = sections.find((section) => !SECTIONS.includes(section));
  if (wrong !== undefined) refuse(`a section must be one of ${SECTIONS.join(", ")}, not ${wrong}`);
  return {
    sections: sections.length > 0 ? sections : SECTIONS,
    count: positive("count", parsed.count) ?? 100_000,
    rounds: positive("rounds", parsed.rounds),
  };
}

function positive(name: string, text: unknown): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  refuse(`--${name} must be a whole number above 0, and is "${text}"`);
}

function refuse(sentence: string): never {
  console.error(`bench: ${sentence}\n${USAGE}`);
  Deno.exit(64);
}

await main();
