/** The siege in short: fewer of everything, and a bound that only a broker that stands still misses. */
import { assert, assertEquals } from "@std/assert";
import { CONSUMERS } from "./consumers.ts";
import { CONTENTS } from "./contents.ts";
import { LETTERS } from "./letters.ts";
import { ROUTES } from "./routes.ts";
import { besiege } from "./siege.ts";
import { STORMS } from "./storms.ts";

const SHORT_MS = 1_500;
const MOST_WAIT_MS = 5_000;

/** The first ones of each kind are those that once stopped everybody. */
const ATTACKS = [LETTERS, ROUTES, CONSUMERS, CONTENTS, STORMS].flatMap((kind) => kind.slice(0, 3));

for (const attack of ATTACKS) {
  Deno.test(`a bystander goes on with its work: ${attack.name}`, async () => {
    const result = await besiege(attack, { duration: SHORT_MS, short: true });
    assertEquals(result.death, undefined);
    assertEquals(result.error, undefined);
    assert(result.rounds > 0, "the bystander came to nothing");
    // On a machine that does nothing else: other tests have its processors, too.
    const { longestUnstarved } = result;
    assert(longestUnstarved < MOST_WAIT_MS, `the bystander waited ${longestUnstarved} ms`);
  });
}
