import { spawn } from "../../tests/support/process.ts";
import { type RabbitmqNode, startRabbitmq } from "../../tests/support/rabbitmq.ts";
import { ownBrokerCommand, startOwnBroker } from "../brokers.ts";
import { buildC, buildCPeer, type BulkPeer } from "./contestants.ts";
import { atRest, cpuOf, interleave, median, round, type Say, table, verdict } from "./measure.ts";
import { redisMissing, redisRate } from "./redis.ts";
import { LOAD, runOnce } from "./throughput.ts";

/** A broker; one without a queue keeps nothing. */
interface Entrant {
  readonly name: string;
  readonly url: string;
  /** Of the queue. */
  readonly type?: "quorum" | "classic";
  /** Process id. */
  readonly pid?: number | undefined;
}

/** Tasks a second, and microseconds of the broker's CPU for a task, in and out. */
type Reached = Partial<Record<"publish" | "consume" | "cpu", number>>;

/**
 * How fast brokers take durable tasks and give them again: to amqp091-go, and to a program in C, for
 * amqp091-go takes longer for a task than our broker does. What either reaches at a broker that keeps
 * nothing is the most that it can reach.
 *
 * @param before another checkout of this project, whose broker is measured in turn
 */
export async function benchRates(
  goPeer: BulkPeer,
  folder: string,
  { count, rounds, before }: { count: number; rounds: number; before: string | undefined },
  say: Say,
): Promise<void> {
  const peers = [goPeer, await buildCPeer(folder)];
  await using rabbitmq = await startRabbitmq({ erlArgs: "" });
  await using own = await startOwnBroker(["--data", `${folder}/rates`]);
  await using former = before === undefined
    ? undefined
    : await startOwnBroker(["--data", `${folder}/rates-before`], ownBrokerCommand(), before);
  await using nothing = await startNothing(folder);
  const ours: Entrant = { name: "our broker", url: own.url, type: "quorum", pid: own.pid };
  const earlier: Entrant[] = former === undefined
    ? []
    : [{ name: "our broker before", url: former.url, type: "quorum", pid: former.pid }];
  const node = { url: rabbitmq.url, pid: await pidOf(rabbitmq) };
  const theirs: Entrant[] = [
    { name: "RabbitMQ, classic queue", ...node, type: "classic" },
    { name: "RabbitMQ, quorum queue", ...node, type: "quorum" },
  ];
  const entrants: Entrant[] = [
    ours,
    ...earlier,
    ...theirs,
    { name: "a broker that keeps nothing", url: nothing.url },
  ];
  const results = await interleave(rounds, [
    ...entrants.flatMap((entrant) =>
      peers.map((peer) => ({ name: entrant.name, run: () => reach(entrant, peer, count) }))
    ),
    { name: "Redis", run: () => reachRedis(folder, count) },
  ]);
  const redis = results.pop()!;
  const medians = (entrant: Entrant, peer: number) =>
    mediansOf(results[entrants.indexOf(entrant) * peers.length + peer]!);
  say(
    `${count} persistent tasks of ${LOAD.size} bytes, window and prefetch ${LOAD.window}, ` +
      `${rounds} rounds in turn, medians; us: the broker's CPU for a task, in and out:\n`,
  );
  say(table([
    [
      "broker",
      ...peers.flatMap(({ name }) => [`${name}: publish+confirm /s`, "consume+ack /s", "us"]),
    ],
    ...entrants.map((entrant) => [
      entrant.name,
      ...peers.flatMap((_, peer) => cells(medians(entrant, peer))),
    ]),
    ["Redis, XADD, appendfsync always", "-", "-", "-", ...cells(mediansOf(redis))],
  ]));
  say(`(${redisMissing ?? "Redis by redis-benchmark, which does not encode AMQP"})\n`);
  for (const mode of ["publish", "consume"] as const) {
    const [go, c] = peers.map((_, peer) => medians(ours, peer)[mode]!) as [number, number];
    const best = Math.max(...theirs.map((entrant) => medians(entrant, 0)[mode]!));
    say(verdict(`${mode}, ours / RabbitMQ's better`, go / best, ">=", 1.5));
    for (const entrant of earlier) {
      const asked = { publish: 1.6, consume: 1 }[mode];
      say(verdict(`${mode}, C, ours / before`, c / medians(entrant, 1)[mode]!, ">=", asked));
      say(`${mode}, amqp091-go, ours / before: ${round(go / medians(entrant, 0)[mode]!)}`);
    }
  }
}

async function pidOf(node: RabbitmqNode): Promise<number> {
  return Number(JSON.parse(await node.eval("os:getpid().")));
}

async function reach({ url, type, pid }: Entrant, peer: BulkPeer, count: number): Promise<Reached> {
  if (type === undefined || pid === undefined) {
    const { rate } = await peer.run("publish", { url, queue: "", count, ...LOAD });
    return { publish: rate };
  }
  const before = cpuOf(pid);
  const { publish, consume } = await runOnce(url, peer, type, count);
  // What it still has to do would be to the cost of the next one.
  await atRest(pid);
  const cpu = (cpuOf(pid) - before) * 1_000 / count;
  return { publish: publish.rate, consume: consume.rate, cpu };
}

async function reachRedis(folder: string, count: number): Promise<Reached> {
  return redisMissing === undefined ? { publish: await redisRate(folder, count) } : {};
}

function mediansOf(runs: readonly Reached[]): Reached {
  const keys = Object.keys(runs[0]!) as (keyof Reached)[];
  return Object.fromEntries(keys.map((key) => [key, median(runs.map((run) => run[key]!))]));
}

function cells({ publish, consume, cpu }: Reached): string[] {
  return [publish, consume, cpu].map((value) => value === undefined ? "-" : round(value));
}

/** A broker that confirms at once, and forgets. */
async function startNothing(folder: string): Promise<AsyncDisposable & { url: string }> {
  const broker = spawn(await buildC(folder, "nothing"), { killOnDispose: true });
  const [port] = await broker.waitForLine(/^\d+$/);
  return {
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  };
}
