/**
 * `deno task bench --report`: everything side by side in one run, written to docs/benchmarks.md with
 * its charts. What is missing or fails says so in its row; the report is written all the same.
 */
import { buildGoPeerProgram } from "../contestants.ts";
import { goMissing } from "../../../tests/support/foreign.ts";
import { tempDir } from "../../../tests/support/temp.ts";
import { makeProgram } from "../../program.ts";
import { commandOf, NAMES } from "../../tasks.ts";
import { startOwnBroker } from "../../brokers.ts";
import { enter, type Entrant, latencyTable, ratesTable, startTable } from "./brokers.ts";
import { bulkTable, commandTable, oneShotTable, type Tools } from "./clients.ts";
import { backlogTables, bodyTable, connectionsTable, queuesTable, workersTable } from "./growth.ts";
import { Lab, output, reasonOf, SIZES } from "./lab.ts";
import { renderReport } from "./page.ts";
import { sizeTable } from "./sizes.ts";
import { type Kind, storeKinds } from "./stores.ts";
import type { Table } from "./table.ts";

const root = new URL("../../../", import.meta.url).pathname;
const AMQPLIB = "amqplib@2.3.1";

/**
 * @param size of all loads
 * @param out the folder of the page
 * @param say gets a line for each number as it is measured
 */
export async function writeReport(
  size: keyof typeof SIZES,
  out: string,
  say: (line: string) => void,
): Promise<void> {
  await using folder = await tempDir("report-");
  const lab = new Lab(SIZES[size], folder.path, say);
  const loadBefore = Deno.loadavg()[0]!;
  const tools = await prepareTools(folder.path, say);
  const tables: Table[] = [];
  /** A table that cannot be made is left out; the others are written. */
  const add = async (what: string, make: () => Promise<Table | readonly Table[]>) => {
    say(`\n## ${what}, after ${(lab.elapsed / 1000).toFixed(0)} s`);
    try {
      tables.push(...[await make()].flat());
    } catch (error) {
      say(`${what} left out: ${error instanceof Error ? error.stack : error}`);
    }
  };

  const kinds = storeKinds(tools.goPeer, commandOf("broker", await makeProgram("broker")));
  await add("sizes", () => sizeTable(lab, tools.binaries, tools.goPeer));
  await add("starts", () => startTable(lab, kinds));
  await onOwnBroker(folder.path, async (url) => {
    await add("one-shot", () => oneShotTable(lab, url, tools));
    await add("commands", () => commandTable(lab, url, tools));
    const broker = { id: "own", name: "our broker", url };
    await add("clients", () => bulkTable(lab, broker, tools));
  });
  const versions = await withBrokers(lab, kinds, async (entrants) => {
    await add("brokers", () => ratesTable(lab, entrants));
    await add("latency", () => latencyTable(lab, entrants, "idle"));
    await add("latency under load", () => latencyTable(lab, entrants, "load"));
    await add("bodies", () => bodyTable(lab, entrants));
    await add("workers", () => workersTable(lab, entrants));
    await add("connections", () => connectionsTable(lab, entrants));
  });
  // Started anew: what came before is not in their memory.
  await withBrokers(lab, kinds, async (entrants) => {
    await add("backlog", () => backlogTables(lab, entrants));
    await add("queues", () => queuesTable(lab, entrants));
  });
  const files = renderReport(tables, {
    facts: await facts(versions, loadBefore),
    command: `deno task bench --report${size === "full" ? "" : ` --${size}`}`,
    minutes: lab.elapsed / 60_000,
  });
  await Deno.mkdir(`${out}/benchmarks`, { recursive: true });
  for (const [name, content] of files) await Deno.writeTextFile(`${out}/${name}`, content);
  const format = [Deno.execPath(), "fmt", "--quiet", "--config", `${root}deno.json`];
  await output([...format, `${out}/benchmarks.md`], AbortSignal.timeout(60_000));
  say(`\n${files.size} files in ${out}, after ${(lab.elapsed / 1000).toFixed(0)} s`);
}

/** Starts all brokers for some tables. @returns a line for each about its version, or its absence */
async function withBrokers(
  lab: Lab,
  kinds: readonly Kind[],
  act: (entrants: readonly Entrant[]) => Promise<void>,
): Promise<string[]> {
  await using running = new AsyncDisposableStack();
  const entrants: Entrant[] = [];
  for (const kind of kinds) entrants.push(await enter(kind, lab, running));
  await act(entrants);
  return entrants.map(({ kind, store }) =>
    `${kind.name}: ${typeof store === "string" ? store : store.version}`
  );
}

async function onOwnBroker(folder: string, act: (url: string) => Promise<void>): Promise<void> {
  await using broker = await startOwnBroker(["--data", `${folder}/clients`]);
  await act(broker.url);
}

async function prepareTools(folder: string, say: (line: string) => void): Promise<Tools> {
  const goPeer = goMissing === undefined
    ? await buildGoPeerProgram(folder).catch((error) => void say(reasonOf(error)))
    : undefined;
  return {
    goPeer: goPeer ?? undefined,
    binaries: await compile(folder).catch(reasonOf),
    amqplib: await installAmqplib(folder).catch(reasonOf),
  };
}

/** The binaries, by the runtime that can be had. */
async function compile(folder: string): Promise<ReadonlyMap<string, string>> {
  const dist = `${folder}/dist`;
  const patience = AbortSignal.timeout(180_000);
  const script = [Deno.execPath(), "run", "--quiet", "-A", `${root}scripts/compile.ts`];
  for (const names of [[...NAMES], ["--single"]]) {
    const args = ["--out", dist, ...names];
    await output([...script, ...args], patience)
      .catch(() => output([...script, "--offline", ...args], patience));
  }
  return new Map([...NAMES, "workqueue"].map((name) => [name, `${dist}/${name}`]));
}

async function installAmqplib(folder: string): Promise<{ folder: string }> {
  const place = `${folder}/node`;
  await Deno.mkdir(place);
  await output(
    ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, AMQPLIB],
    AbortSignal.timeout(60_000),
  );
  const peer = "amqplib_peer.mjs";
  await Deno.copyFile(`${root}scripts/bench/peers/${peer}`, `${place}/${peer}`);
  return { folder: place };
}

/** The machine and everybody's version, one sentence each. */
async function facts(brokers: readonly string[], loadBefore: number): Promise<string[]> {
  const signal = AbortSignal.timeout(30_000);
  const tell = async (command: readonly string[]) =>
    (await output(command, signal).catch((error) => reasonOf(error))).trim().split("\n")[0]!;
  const cpus = await Deno.readTextFile("/proc/cpuinfo").catch(() => "");
  const model = cpus.match(/^model name\s*: (.*)$/m)?.[1] ?? Deno.build.arch;
  const debian = async (name: string) => {
    const said = await tell(["dpkg-query", "-W", "-f=${Version}", name]);
    return `${name} ${said}`;
  };
  const packages = ["amqp-tools", "golang-github-rabbitmq-amqp091-go-dev", "python3-pika"]
    .concat(["rabbitmq-server", "beanstalkd", "redis-server"]);
  return [
    `Machine: ${navigator.hardwareConcurrency} cores of ${model}, ` +
    `${
      (Deno.systemMemoryInfo().total / 2 ** 30).toFixed(0)
    } GiB, ${Deno.osRelease()}; load average ` +
    `of the minute before: ${loadBefore.toFixed(1)}`,
    `Ours: commit ${await tell(["git", "-C", root, "rev-parse", "--short=12", "HEAD"])}, ` +
    `Deno ${Deno.version.deno}; binaries as \`deno task compile\` makes them here`,
    `Debian packages: ${(await Promise.all(packages.map(debian))).join(", ")}`,
    `From npm: ${AMQPLIB} on Node ${await tell(["node", "--version"])}, redis@6.3.1`,
    `Brokers: ${brokers.filter((line) => !line.endsWith(": ")).join("; ")}`,
  ];
}
