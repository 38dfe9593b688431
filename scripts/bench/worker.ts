import { makeProgram } from "../program.ts";
import { commandOf } from "../tasks.ts";
import { ourPeer } from "./contestants.ts";
import { interleave, median, round, type Say, table, time, verdict } from "./measure.ts";
import { freshQueue } from "./queues.ts";
import { LOAD, medianOf } from "./throughput.ts";

const root = new URL("../../", import.meta.url).pathname;
const QUEUE = "bench-worker";

/** Runs of `true`. */
const COMMANDS = 2_000;

/** What the worker costs beside its tasks. */
export async function benchWorker(
  url: string,
  options: { count: number; rounds: number },
  say: Say,
): Promise<void> {
  await benchHandlers(url, options, say);
  await benchCommands(url, options.rounds, say);
}

/** The handlers without a process against a consumer that only acknowledges. */
async function benchHandlers(
  url: string,
  { count, rounds }: { count: number; rounds: number },
  say: Say,
): Promise<void> {
  const modes = ["consume", "dots", "module"] as const;
  const load = { url, queue: QUEUE, count, ...LOAD };
  const results = await interleave(
    rounds,
    modes.map((mode) => ({
      name: mode,
      run: async () => {
        await freshQueue(url, QUEUE, "quorum");
        await ourPeer.run("publish", load);
        return await ourPeer.run(mode, load);
      },
    })),
  );
  const [bare, dots, module] = results.map((runs) => medianOf(runs, ({ rate }) => rate));
  say(
    `${count} tasks of ${LOAD.size} bytes, prefetch and concurrency ${LOAD.window}, ` +
      `${rounds} rounds in turn, medians:\n`,
  );
  say(table([
    ["handler", "tasks /s"],
    ["bare consumer", round(bare!)],
    ["dots", round(dots!)],
    ["module", round(module!)],
  ]));
  say("");
  say(verdict("dots / bare consumer", dots! / bare!, ">=", 0.8));
  say(verdict("module / bare consumer", module! / bare!, ">=", 0.8));
}

/** CPU time of a command for each task, the worker's start included, against xargs. */
async function benchCommands(url: string, rounds: number, say: Say): Promise<void> {
  const load = { url, queue: QUEUE, count: COMMANDS, ...LOAD };
  const worker = [
    ...commandOf("worker", root + await makeProgram("worker")),
    ...["--url", url, "--queue", QUEUE, "--concurrency", "2", "--max-tasks", `${COMMANDS}`],
    ...["--", "true"],
  ];
  const results = await interleave(rounds, [
    {
      name: "worker",
      run: async () => {
        await freshQueue(url, QUEUE, "quorum");
        await ourPeer.run("publish", load);
        return await cpuSeconds('"$@" 2>/dev/null', worker);
      },
    },
    {
      name: "xargs",
      run: () => cpuSeconds('seq "$1" | xargs -n1 -P2 true', [String(COMMANDS)]),
    },
  ]);
  const [ours, theirs] = results.map(median);
  say(`\n${COMMANDS} runs of true, two at a time, CPU time, ${rounds} rounds in turn, medians:\n`);
  say(table([
    ["program", "s", "ms / run"],
    ...([["worker -- true", ours!], ["xargs -n1 -P2 true", theirs!]] as const)
      .map(([name, seconds]) => [name, round(seconds), round(1_000 * seconds / COMMANDS)]),
  ]));
  say("\n" + verdict("worker / xargs", ours! / theirs!, "<=", 2.2));
}

/** User and system seconds of a line of bash and everything it waited for. */
async function cpuSeconds(line: string, args: readonly string[]): Promise<number> {
  const timed = `TIMEFORMAT='%U %S'; { time { ${line}; } 2>&3 >/dev/null; } 3>/dev/null 2>&1`;
  const { stdout } = await time(["bash", "-c", timed, "bash", ...args]);
  const [user, system] = stdout.trim().split(" ").map(Number);
  return user! + system!;
}
