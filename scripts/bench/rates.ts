import { spawn } from "../../tests/support/process.ts";
import { startRabbitmq } from "../../tests/support/rabbitmq.ts";
import { ownBrokerCommand, startOwnBroker } from "../brokers.ts";
import { buildC, buildCPeer, type BulkPeer } from "./contestants.ts";
import { cpuOf, interleave, median, round, type Say, table, verdict } from "./measure.ts";
import { redisMissing, redisRate } from "./redis.ts";
import { LOAD, runOnce } from "./throughput.ts";

interface Entrant {
  readonly name: string;
  readonly url: string;
  /** Of its queue; undefined: it has none, for it keeps nothing. */
  readonly type?: "quorum" | "classic";
  /** Process id, where the broker is ours. */
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
  const entrants: Entrant[] = [
    { name: "our broker", url: own.url, type: "quorum", pid: own.pid },
    { name: "RabbitMQ, classic queue", url: rabbitmq.url, type: "classic" },
    { name: "RabbitMQ, quorum queue", url: rabbitmq.url, type: "quorum" },
    { name: "a broker that keeps nothing", url: nothing.url },
    ...(former === undefined
      ? []
      : [{ name: "our broker before", url: former.url, type: "quorum", pid: former.pid } as const]),
  ];
  const results = await interleave(rounds, [
    ...entrants.flatMap((entrant) =>
      peers.map((peer) => ({ name: entrant.name, run: () => reach(entrant, peer, count) }))
    ),
    { name: "Redis", run: () => reachRedis(folder, count) },
  ]);
  const redis = results.pop()!;
  /** Of an entrant and a peer. */
  const medians = (entrant: number, peer: number) =>
    mediansOf(results[entrant * peers.length + peer]!);
  say(
    `${count} persistent tasks of ${LOAD.size} bytes, window and prefetch ${LOAD.window}, ` +
      `${rounds} rounds in turn, medians; us: the broker's CPU for a task, in and out:\n`,
  );
  say(table([
    [
      "broker",
      ...peers.flatMap(({ name }) => [`${name}: publish+confirm /s`, "consume+ack /s", "us"]),
    ],
    ...entrants.map((
      { name },
      i,
    ) => [name, ...peers.flatMap((_, peer) => cells(medians(i, peer)))]),
    ["Redis, XADD, appendfsync always", "-", "-", "-", ...cells(mediansOf(redis))],
  ]));
  say(`(${redisMissing ?? "Redis by redis-benchmark, which does not encode AMQP"})\n`);
  const [go, c] = [medians(0, 0), medians(0, 1)];
  for (const mode of ["publish", "consume"] as const) {
    const theirs = Math.max(...[1, 2].map((rabbitmq) => medians(rabbitmq, 0)[mode]!));
    say(verdict(`${mode}, ours / RabbitMQ's better`, go[mode]! / theirs, ">=", 1.5));
    if (former === undefined) continue;
    const [goBefore, cBefore] = peers.map((_, peer) => medians(entrants.length - 1, peer)[mode]!);
    const asked = { publish: 1.6, consume: 1 }[mode];
    say(verdict(`${mode}, C program, ours / before`, c[mode]! / cBefore!, ">=", asked));
    say(`${mode}, amqp091-go, ours / before: ${round(go[mode]! / goBefore!)}`);
  }
}

async function reach({ url, type, pid }: Entrant, peer: BulkPeer, count: number): Promise<Reached> {
  if (type === undefined) {
    const { rate } = await peer.run("publish", { url, queue: "", count, ...LOAD });
    return { publish: rate };
  }
  const before = pid === undefined ? 0 : cpuOf(pid);
  const { publish, consume } = await runOnce(url, peer, type, count);
  const rates = { publish: publish.rate, consume: consume.rate };
  return pid === undefined ? rates : { ...rates, cpu: (cpuOf(pid) - before) * 1_000 / count };
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
