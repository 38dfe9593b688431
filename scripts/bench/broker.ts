import { installed } from "../../tests/support/process.ts";
import { ownBrokerCommand, startOwnBroker } from "../brokers.ts";
import { makeProgram } from "../program.ts";
import { commandOf } from "../tasks.ts";
import type { BulkPeer } from "./contestants.ts";
import { interleave, median, residentMemory, round, type Say, table, verdict } from "./measure.ts";
import { freshQueue } from "./queues.ts";
import { benchRates } from "./rates.ts";
import { LOAD } from "./throughput.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Tasks of the backlog, as the project's issues ask for it, and of one step on the way. */
const BACKLOG = 1_000_000;
const STEP = 100_000;

/**
 * Our broker, with data on disk, against RabbitMQ with its default settings.
 *
 * @param before another checkout of this project, whose broker is measured in turn
 */
export async function benchBroker(
  peer: BulkPeer,
  folder: string,
  { count, rounds, before }: { count: number; rounds: number; before: string | undefined },
  say: Say,
): Promise<void> {
  await benchRates(peer, folder, { count, rounds, before }, say);
  await benchStart(folder, rounds, say);
  await benchBacklog(peer, folder, say);
}

async function benchStart(folder: string, rounds: number, say: Say): Promise<void> {
  const commands = [
    { name: "broker", command: commandOf("broker", root + await makeProgram("broker")) },
    { name: "broker from source", command: ownBrokerCommand() },
  ];
  if (installed(`${root}dist/broker`)) {
    commands.push({ name: "dist/broker", command: [`${root}dist/broker`] });
  }
  const results = await interleave(
    rounds,
    commands.map(({ name, command }) => ({
      name,
      run: async () => {
        const started = performance.now();
        await using broker = await startOwnBroker(["--data", `${folder}/start`], command);
        return { ms: performance.now() - started, size: await residentMemory(broker.pid!) };
      },
    })),
  );
  const ms = results.map((runs) => median(runs.map((run) => run.ms)));
  const sizes = results.map((runs) => median(runs.map((run) => run.size)));
  say(`\nFrom start to ready, and resident memory then, ${rounds} rounds, medians:\n`);
  say(table([
    ["program", "ms", "MB"],
    ...commands.map(({ name }, i) => [name, round(ms[i]!), round(sizes[i]!)]),
  ]));
  say("\n" + verdict("ready after, ms", Math.min(...ms), "<=", 150));
  say(verdict("idle, MB", Math.min(...sizes), "<=", 70));
}

async function benchBacklog(peer: BulkPeer, folder: string, say: Say): Promise<void> {
  await using broker = await startOwnBroker(["--data", `${folder}/backlog`]);
  const queue = "bench-backlog";
  await freshQueue(broker.url, queue, "quorum");
  const rows: [backlog: number, rate: number, size: number][] = [];
  for (let backlog = 0; backlog <= BACKLOG; backlog += STEP) {
    const load = { url: broker.url, queue, count: STEP, ...LOAD };
    const { rate } = await peer.run("publish", load);
    rows.push([backlog, rate, await residentMemory(broker.pid!)]);
  }
  say(`\nPublishing ${STEP} tasks of ${LOAD.size} bytes to a queue nobody reads:\n`);
  say(table([
    ["backlog before", "publish+confirm /s", "broker MB after"],
    ...rows.map(([backlog, rate, size]) => [String(backlog), round(rate), round(size)]),
  ]));
  const [empty, ...full] = rows;
  say("\n" + verdict(`rate at ${BACKLOG} / at 0`, full.at(-1)![1] / empty![1], ">=", 0.8));
  say(verdict("broker, MB", full.at(-1)![2], "<=", 200));
}
