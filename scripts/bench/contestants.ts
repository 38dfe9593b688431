/** The programs that are measured against each other. */
import { preparePeers } from "../../tests/interop/peers.ts";
import { buildGo } from "../../tests/support/foreign.ts";
import { installed, run } from "../../tests/support/process.ts";
import { makeProgram } from "../program.ts";
import { commandOf } from "../tasks.ts";
import { type Contestant, time } from "./measure.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Why the programs of c/ cannot be built, or undefined. */
export const gccMissing = installed("gcc") ? undefined : "gcc is not installed";

/** What a peer measured of itself. */
export interface Rate {
  /** Messages a second. */
  readonly rate: number;
  /** The most memory it held, in MB. */
  readonly peak: number;
}

/** A program for bulk publishing and consuming: ours or the one on amqp091-go. */
export interface BulkPeer<Mode extends string = "publish" | "consume"> {
  readonly name: string;
  run(mode: Mode, load: Load): Promise<Rate>;
}

export interface Load {
  readonly url: string;
  readonly queue: string;
  readonly count: number;
  /** Unconfirmed or unacknowledged at the same time. */
  readonly window: number;
  /** Bytes of a body. */
  readonly size: number;
}

export const ourPeer: BulkPeer<"publish" | "consume" | "dots" | "module"> = bulkPeer("src/amqp", [
  Deno.execPath(),
  "run",
  "--quiet",
  "--allow-all",
  // The tasks of a window fit into so large a young generation; without a bound it grows to 32 MB.
  "--v8-flags=--max-semi-space-size=3",
  `${root}scripts/bench/peer.ts`,
]);

/**
 * Builds the Go peer.
 *
 * @throws Error when it cannot be built
 */
export async function buildGoPeer(folder: string): Promise<BulkPeer> {
  return bulkPeer("amqp091-go", [await buildGoPeerProgram(folder)]);
}

/** The same, which others go before where there are not enough processors. */
export async function buildNiceGoPeer(folder: string): Promise<BulkPeer> {
  return bulkPeer("amqp091-go", ["nice", "-n", "10", await buildGoPeerProgram(folder)]);
}

/** The same, for its path. */
export function buildGoPeerProgram(folder: string): Promise<string> {
  return buildGo(`${folder}/peer`, "build", `${root}scripts/bench/go/peer.go`);
}

/**
 * Builds the peer in C, which takes next to no time for a message.
 *
 * @throws Error when it cannot be built
 */
export async function buildCPeer(folder: string): Promise<BulkPeer> {
  return bulkPeer("a C program", [await buildC(folder, "peer")]);
}

/**
 * Builds a program of c/.
 *
 * @returns its path
 * @throws Error when it cannot be built
 */
export async function buildC(folder: string, name: string): Promise<string> {
  const program = `${folder}/c-${name}`;
  const source = `${root}scripts/bench/c/${name}.c`;
  const { code, stderr } = await run("gcc", { args: ["-O2", "-o", program, source] });
  if (code !== 0) throw new Error(`gcc cannot build ${source}: ${stderr}`);
  return program;
}

function bulkPeer<Mode extends string>(name: string, command: readonly string[]): BulkPeer<Mode> {
  return {
    name,
    run: async (mode, { url, queue, count, window, size }) => {
      const args = [mode, url, queue, count, window, size].map(String);
      const { stdout } = await time([...command, ...args]);
      const [seconds, peak] = stdout.split(" ").map(Number) as [number, number];
      return { rate: count / seconds, peak: peak / 1000 };
    },
  };
}

/**
 * Programs that send one task each; the first is new_task as its task runs it, the second the same
 * through the package's own TCP client, the third the least that can be done, the fourth does nothing;
 * the others are for orientation.
 * They measure wall milliseconds.
 */
export async function oneShots(
  folder: string,
  url: string,
  queue: string,
): Promise<Contestant<number>[]> {
  const env = { AMQP_URL: url, WORK_QUEUE: queue };
  const deno = [Deno.execPath(), "run", "--quiet"];
  const empty = `${folder}/empty.ts`;
  await Deno.writeTextFile(empty, "");
  const contestants = [
    oneShot("new_task", commandOf("new_task", root + await makeProgram("new_task")), env),
    oneShot("the package's TCP client", [
      ...deno,
      "--allow-all",
      `${root}scripts/bench/stock_publish.ts`,
    ], env),
    oneShot("the least, without a check", [
      ...deno,
      "--allow-all",
      `${root}scripts/bench/least_publish.ts`,
    ], env),
    oneShot("deno, doing nothing", [...deno, empty]),
    oneShot("new_task from source", commandOf("new_task", `${root}src/new_task.ts`), env),
    oneShot("deno task new_task", [
      ...[Deno.execPath(), "task", "--quiet", "--config", `${root}deno.json`, "new_task"],
    ], env),
  ];
  if (installed(`${root}dist/new_task`)) {
    contestants.push(oneShot("dist/new_task", [`${root}dist/new_task`], env));
  }
  for (const peer of await preparePeers(folder)) {
    if (peer.missing) continue;
    const { command, args, env } = peer.newTask(url, "quorum", "hello");
    contestants.push(oneShot(peer.name, [command, ...args], env));
  }
  return contestants;
}

function oneShot(
  name: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Contestant<number> {
  return { name, run: async () => (await time(command, env)).ms };
}
