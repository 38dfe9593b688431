import type { BulkPeer, Rate } from "./contestants.ts";
import { interleave, median, round, type Say, table, verdict } from "./measure.ts";
import { freshQueue, readyIn } from "./queues.ts";

/** Tasks of the bulk tests, as the project's issues ask for them. */
export const LOAD = { window: 1000, size: 100 };

/** Publishes to and consumes from a quorum queue in bulk: ours against the others. */
export async function benchThroughput(
  url: string,
  peers: readonly BulkPeer[],
  { count, rounds }: { count: number; rounds: number },
  say: Say,
): Promise<void> {
  const results = await interleave(
    rounds,
    peers.map((peer) => ({ name: peer.name, run: () => runOnce(url, peer, "quorum", count) })),
  );
  say(
    `${count} tasks of ${LOAD.size} bytes, window ${LOAD.window}, quorum queue, ` +
      `${rounds} rounds in turn, medians:\n`,
  );
  say(table([
    ["client", "publish+confirm /s", "consume+ack /s", "publisher MB", "consumer MB"],
    ...peers.map(({ name }, i) => [
      name,
      round(medianOf(results[i]!, (result) => result.publish.rate)),
      round(medianOf(results[i]!, (result) => result.consume.rate)),
      round(Math.max(...results[i]!.map((result) => result.publish.peak))),
      round(Math.max(...results[i]!.map((result) => result.consume.peak))),
    ]),
  ]));
  const [ours, theirs] = results as [Cycle[], Cycle[]];
  const names = `${peers[0]!.name} / ${peers[1]!.name}`;
  say("");
  for (const mode of ["publish", "consume"] as const) {
    const ratio = medianOf(ours, (cycle) => cycle[mode].rate) /
      medianOf(theirs, (cycle) => cycle[mode].rate);
    say(verdict(`${mode}, ${names}`, ratio, ">=", 1));
  }
  const peak = Math.max(...ours.flatMap(({ publish, consume }) => [publish.peak, consume.peak]));
  say(verdict("most memory of ours, MB", peak, "<=", 150));
}

/** One queue filled and emptied. */
export interface Cycle {
  readonly publish: Rate;
  readonly consume: Rate;
}

export async function runOnce(
  url: string,
  peer: BulkPeer,
  type: string,
  count: number,
): Promise<Cycle> {
  const queue = `bench-${type}`;
  await freshQueue(url, queue, type);
  const load = { url, queue, count, ...LOAD };
  const publish = await peer.run("publish", load);
  const ready = await readyIn(url, queue);
  if (ready !== count) throw new Error(`${peer.name} left ${ready} of ${count} tasks`);
  // The peer counts what it acknowledges. RabbitMQ may still requeue a few of the last ones when the
  // channel closes behind a burst of acknowledgements: that is not what is measured.
  const consume = await peer.run("consume", load);
  return { publish, consume };
}

export function medianOf<T>(results: readonly T[], number: (result: T) => number): number {
  return median(results.map(number));
}
