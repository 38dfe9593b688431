/**
 * Kills our broker under load, round after round on the same data, and counts broken promises.
 *
 *   deno task crash [--rounds 50] [--seed N]
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { crash } from "../tests/broker/crash.ts";
import { violations } from "../tests/broker/ledger.ts";
import { seedOf } from "../tests/support/random.ts";

const { values: args } = parseArgs({
  args: Deno.args,
  options: {
    rounds: { type: "string" },
    seed: { type: "string" },
  },
});
const rounds = Number(args.rounds ?? 50);
const seed = seedOf(args.seed);

console.log(`${rounds} rounds of kill -9 under load, seed ${seed}`);
const verdict = await crash({ rounds, seed, say: (sentence) => console.log(sentence) });
console.log(`confirmed ${verdict.confirmed}, lost ${verdict.lost}`);
console.log(
  `acknowledged before the last commit ${verdict.settled}, redelivered ${verdict.redelivered}`,
);
console.log(`transactions ${verdict.transactions}, torn ${verdict.torn}`);
console.log(`of a backup ${verdict.backedUp}, pauses forgotten ${verdict.forgotten}`);
console.log(`in two places ${verdict.doubled}, transient or purged and back ${verdict.revived}`);
Deno.exitCode = violations(verdict) === 0 ? 0 : 1;
