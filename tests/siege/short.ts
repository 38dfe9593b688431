/** Attacks in short: fewer of everything, and a bound that only a broker that stands still misses. */
import { assert, assertEquals } from "@std/assert";
import { type Attack, besiege } from "./siege.ts";

const MS = 1_500;
const MOST_WAIT_MS = 5_000;

/** The first ones of each kind are those that once hurt most. */
const FIRST = 3;

/** Declares tests of the first attacks of some kinds. */
export function testBriefly(...kinds: readonly (readonly Attack[])[]): void {
  for (const attack of kinds.flatMap((kind) => kind.slice(0, FIRST))) {
    Deno.test(`a bystander goes on with its work: ${attack.name}`, async () => {
      const result = await besiege(attack, { duration: MS, short: true });
      assertEquals(result.death, undefined);
      assertEquals(result.error, undefined);
      assert(result.rounds > 0, "the bystander came to nothing");
      // Without what it waited for a processor that other tests had.
      const { longestUnstarved: waited } = result;
      assert(waited < MOST_WAIT_MS, `the bystander waited ${waited} ms`);
    });
  }
}
