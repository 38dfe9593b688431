import { fakeDisk, fakeDiskMissing } from "../../tests/support/fake_disk.ts";
import { startRabbitmq } from "../../tests/support/rabbitmq.ts";
import { ownBrokerCommand, startOwnBroker } from "../brokers.ts";
import { buildC, type BulkPeer } from "./contestants.ts";
import { interleave, median, percentile, round, type Say, table, verdict } from "./measure.ts";
import { freshQueue } from "./queues.ts";
import { LOAD } from "./throughput.ts";

/** Milliseconds that each sync takes longer: an SD card's, in a bad moment. */
const SYNC_MS = 20;

/**
 * Milliseconds between two messages of the bystander, those before the load is there, and those
 * without any, which show what the machine itself makes it wait.
 */
const PAUSE_MS = 3;
const WARM_MS = 500;
const ALONE_MS = 2_000;

interface Contestant {
  readonly name: string;
  readonly url: string;
}

interface Slow {
  /** Messages a second. */
  readonly rate: number;
  /** Milliseconds that deliveries of the bystander took, beside the publisher and alone. */
  readonly waits: number[];
  readonly alone: number[];
  /** The same of another bystander, beside the publisher, at a broker that has nothing else to do. */
  readonly elsewhere: number[];
}

/**
 * A disk whose syncs take 20 ms: a publisher at full speed, and what a bystander with a queue of his
 * own waits for meanwhile. A bystander of an idle broker shows what of that is the machine's: two
 * processors have the publisher, the broker and the bystander to run.
 *
 * @param before another checkout of this project, to be measured in turn
 */
export async function benchSlowDisk(
  peer: BulkPeer,
  folder: string,
  { count, rounds, before }: { count: number; rounds: number; before: string | undefined },
  say: Say,
): Promise<void> {
  if (fakeDiskMissing !== undefined) return say(`left out: ${fakeDiskMissing}`);
  const env = await fakeDisk(folder, { syncMs: SYNC_MS });
  const bystander = await buildC(folder, "bystander");
  const command = [
    "env",
    ...Object.entries(env).map((pair) => pair.join("=")),
    ...ownBrokerCommand(),
  ];
  await using own = await startOwnBroker(["--data", `${folder}/slow`], command);
  await using former = before === undefined
    ? undefined
    : await startOwnBroker(["--data", `${folder}/slow-before`], command, before);
  await using idle = await startOwnBroker(["--transient"]);
  await using rabbitmq = await startRabbitmq({ erlArgs: "", env });
  const contestants: Contestant[] = [
    { name: "our broker", url: own.url },
    ...(former === undefined ? [] : [{ name: "our broker before", url: former.url }]),
    { name: "RabbitMQ, quorum queue", url: rabbitmq.url },
  ];
  const results = await interleave(
    rounds,
    contestants.map(({ name, url }) => ({
      name,
      run: () => runSlow(url, idle.url, peer, count, bystander),
    })),
  );
  say(
    `Each sync takes ${SYNC_MS} ms longer. ${count} persistent tasks of ${LOAD.size} bytes, window ` +
      `${LOAD.window}, client ${peer.name}, which gives way on the processors (nice); beside it a ` +
      `transient message every ${PAUSE_MS} ms to an idle consumer, whether or not those before have ` +
      `come, and what it took; ${rounds} rounds in turn:\n`,
  );
  const waits = results.map((runs) => runs.flatMap((run) => run.waits));
  const alone = results.map((runs) => runs.flatMap((run) => run.alone));
  const elsewhere = results.map((runs) => runs.flatMap((run) => run.elsewhere));
  const rates = results.map((runs) => median(runs.map(({ rate }) => rate)));
  say(table([
    [
      ...["broker", "publish+confirm /s", "median wait ms", "p99 ms", "longest ms"],
      ...["p99 elsewhere ms", "p99 alone ms"],
    ],
    ...contestants.map(({ name }, i) => [
      name,
      round(rates[i]!),
      ...[0.5, 0.99, 1].map((part) => round(percentile(waits[i]!, part))),
      ...[elsewhere, alone].map((waits) => round(percentile(waits[i]!, 0.99))),
    ]),
  ]));
  say("\n" + verdict("our bystander's wait, p99 ms", percentile(waits[0]!, 0.99), "<=", 2));
  if (former !== undefined) {
    say(verdict("publish, ours / before", rates[0]! / rates[1]!, ">=", 1.6));
  }
}

async function runSlow(
  url: string,
  idle: string,
  peer: BulkPeer,
  count: number,
  bystander: string,
): Promise<Slow> {
  const queue = "bench-slow";
  await freshQueue(url, queue, "quorum");
  const alone = standBy(bystander, url);
  await new Promise((resolve) => setTimeout(resolve, ALONE_MS));
  const waitsAlone = await alone.end();
  const both = [url, idle].map((url) => standBy(bystander, url));
  const { rate } = await peer.run("publish", { url, queue, count, ...LOAD });
  const [waits, elsewhere] = await Promise.all(both.map((one) => one.end()));
  return { rate, waits: waits!, elsewhere: elsewhere!, alone: waitsAlone };
}

interface Bystander {
  /** @returns what each delivery took, in milliseconds */
  end(): Promise<number[]>;
}

/** Sends to a consumer of its own until it is told to end. */
function standBy(program: string, url: string): Bystander {
  const args = [new URL(url).port, "bench-bystander", PAUSE_MS, WARM_MS].map(String);
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
  return {
    end: async () => {
      await child.stdin.close();
      const { success, stdout } = await child.output();
      if (!success) throw new Error("the bystander of the bench has failed");
      return new TextDecoder().decode(stdout).split("\n").filter(Boolean).map(Number);
    },
  };
}
