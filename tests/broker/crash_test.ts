/** The short form of `deno task crash`. */
import { assertEquals, assertGreater } from "@std/assert";
import { crash } from "./crash.ts";
import { violations } from "./ledger.ts";

Deno.test({
  name: "kill -9 under load loses nothing confirmed and repeats nothing committed",
  async fn() {
    const violated: string[] = [];
    const verdict = await crash({ rounds: 3, seed: 1, say: (sentence) => violated.push(sentence) });
    assertEquals(violated, []);
    assertEquals(violations(verdict), 0);
    const { confirmed, settled, transactions, backedUp } = verdict;
    for (const count of [confirmed, settled, transactions, backedUp]) {
      assertGreater(count, 0, "a promise that nothing was counted of");
    }
  },
});
