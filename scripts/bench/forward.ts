import { startRabbitmq } from "../../tests/support/rabbitmq.ts";
import { startOwnBroker } from "../brokers.ts";
import { commandOf } from "../tasks.ts";
import { ourPeer } from "./contestants.ts";
import { cpuOf, interleave, median, round, type Say, table, verdict } from "./measure.ts";
import { freshQueue, untilReady } from "./queues.ts";
import { LOAD } from "./throughput.ts";

const root = new URL("../../", import.meta.url).pathname;
const QUEUE = "bench-forward";

/** Where tasks come from and go to, and the process ids of both where that is one process each. */
interface Way {
  readonly name: string;
  readonly from: Place;
  readonly to: Place;
}

interface Place {
  readonly url: string;
  readonly pid?: number;
}

interface Forwarded {
  /** Tasks a second; and of the bench's peer: published there, consumed here. */
  readonly rate: number;
  readonly publish: number;
  readonly consume: number;
  /** Microseconds of CPU for a task: of the forwarder, the broker here and the one there. */
  readonly cpu: readonly [forwarder: number, from: number | undefined, to: number | undefined];
  /** The most memory of the forwarder, in MB. */
  readonly peak: number;
}

/**
 * `worker forward` from our broker to ours and to RabbitMQ, beside what the bench's peer publishes
 * there and consumes here.
 *
 * @param before another checkout of this project, whose forwarder is measured in turn
 */
export async function benchForward(
  folder: string,
  { count, rounds, before }: { count: number; rounds: number; before: string | undefined },
  say: Say,
): Promise<void> {
  await using from = await startOwnBroker(["--data", `${folder}/forward-from`]);
  await using to = await startOwnBroker(["--data", `${folder}/forward-to`]);
  await using rabbitmq = await startRabbitmq({ erlArgs: "" });
  const ways: Way[] = [
    { name: "to our broker", from, to },
    { name: "to RabbitMQ, quorum queue", from, to: { url: rabbitmq.url } },
  ];
  const checkouts = before === undefined ? [root] : [root, before];
  const contestants = ways.flatMap((way) =>
    checkouts.map((checkout) => ({
      name: way.name + (checkout === root ? "" : ", before"),
      run: () => runForward(way, checkout, count),
    }))
  );
  const results = await interleave(rounds, contestants);
  say(
    `${count} tasks of ${LOAD.size} bytes that wait on our broker, ${rounds} rounds in turn; ` +
      "medians, and of CPU and memory the least and the most:\n",
  );
  say(table([
    [
      "forward",
      "/s",
      "publish there /s",
      "consume here /s",
      "ratio",
      "us CPU",
      "from",
      "to",
      "its share of the cores",
      "MB",
    ],
    ...contestants.map(({ name }, i) => [name, ...rowOf(results[i]!)]),
  ]));
  say("");
  for (const [i, { name }] of contestants.entries()) {
    say(verdict(`forward ${name}, of the slower of both`, ratioOf(results[i]!), ">=", 0.8));
  }
  const mine = contestants.flatMap(({ name }, i) => name.endsWith("before") ? [] : results[i]!);
  say(
    verdict(
      "most memory of the forwarder, MB",
      Math.max(...mine.map((run) => run.peak)),
      "<=",
      120,
    ),
  );
}

function rowOf(runs: readonly Forwarded[]): string[] {
  const rate = median(runs.map((run) => run.rate));
  const least = (process: 0 | 1 | 2) => {
    const all = runs.flatMap(({ cpu }) => cpu[process] ?? []);
    return all.length === 0 ? undefined : Math.min(...all);
  };
  const own = least(0)!;
  const share = own * rate / 1e6 / navigator.hardwareConcurrency;
  return [
    ...["rate", "publish", "consume"].map((key) =>
      round(median(runs.map((run) => run[key as "rate"])))
    ),
    round(ratioOf(runs)),
    ...([0, 1, 2] as const).map((process) => {
      const us = least(process);
      return us === undefined ? "-" : round(us);
    }),
    `${round(100 * share)} %`,
    round(Math.max(...runs.map((run) => run.peak))),
  ];
}

/** Each round has its own: the machine is the same for all three then. */
function ratioOf(runs: readonly Forwarded[]): number {
  return median(runs.map(({ rate, publish, consume }) => rate / Math.min(publish, consume)));
}

async function runForward({ from, to }: Way, checkout: string, count: number): Promise<Forwarded> {
  for (const { url } of [from, to]) await freshQueue(url, QUEUE, "quorum");
  const publish = await ourPeer.run("publish", { url: to.url, queue: QUEUE, count, ...LOAD });
  await freshQueue(to.url, QUEUE, "quorum");
  const load = { url: from.url, queue: QUEUE, count, ...LOAD };
  await ourPeer.run("publish", load);
  const consume = await ourPeer.run("consume", load);
  await ourPeer.run("publish", load);
  const [deno, ...worker] = commandOf("worker", "src/worker.ts") as [string, ...string[]];
  const forwarder = new Deno.Command(deno, {
    args: [...worker, "forward", "--queue", QUEUE, "--exit-when-empty"],
    cwd: checkout,
    env: { AMQP_URL: from.url, TO_AMQP_URL: to.url },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  const { pid, status } = forwarder;
  const processes = [pid, from.pid, to.pid];
  const first = await untilReady(to.url, QUEUE, 1);
  const before = processes.map((process) => process && cpuOf(process));
  const last = await untilReady(to.url, QUEUE, count);
  const after = processes.map((process) => process && cpuOf(process));
  const peak = peakOf(pid);
  if (!(await status).success) throw new Error("the forwarder failed");
  const moved = last.ready - first.ready;
  const cpu = after.map((ms, i) => ms && 1_000 * (ms - before[i]!) / moved);
  return {
    rate: moved / (last.at - first.at) * 1_000,
    publish: publish.rate,
    consume: consume.rate,
    cpu: [cpu[0]!, cpu[1], cpu[2]],
    peak,
  };
}

/** The most resident memory that a process had, in MB. Linux only. */
function peakOf(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)![1]) / 1_000;
}
