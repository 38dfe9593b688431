import { oneShots } from "./contestants.ts";
import { interleave, median, round, type Say, table, verdict } from "./measure.ts";
import { freshQueue } from "./queues.ts";

/** How long it takes to send one task, as a whole process from start to end. */
export async function benchOneShot(
  url: string,
  folder: string,
  rounds: number,
  say: Say,
): Promise<void> {
  await freshQueue(url, "bench", "quorum");
  await freshQueue(url, "task_queue", "quorum");
  const contestants = await oneShots(folder, url, "bench");
  for (const contestant of contestants) await contestant.run(); // caches are warm for everybody
  const times = await interleave(rounds, contestants);
  say(`One task sent, whole process, ${rounds} rounds in turn, milliseconds:\n`);
  say(table([
    ["program", "median", "fastest", "slowest"],
    ...contestants.map(({ name }, i) => [
      name,
      round(median(times[i]!)),
      round(Math.min(...times[i]!)),
      round(Math.max(...times[i]!)),
    ]),
  ]));
  const [ours, stock, least, bare] = times.map(median) as [number, number, number, number];
  say("\n" + verdict("new_task / the package's TCP client", ours / stock, "<=", 0.5));
  say(verdict("new_task / deno, doing nothing", ours / bare, "<=", 2.2));
  say(`the least / the package's TCP client: ${(least / stock).toFixed(2)}`);
  say(`new_task / the least: ${(ours / least).toFixed(2)}`);
}
