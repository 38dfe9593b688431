/** One turn of the event loop, without connections. */
import { assertEquals } from "@std/assert";
import { Store } from "../../src/broker/store.ts";
import { Turn } from "../../src/broker/turn.ts";
import { waitUntil } from "../support/wait.ts";

Deno.test("a commit that a timer makes in the middle of a turn leaves out nothing of it", async () => {
  const store = new Store({ folder: undefined, onFailure: () => {} });
  let letters = 0;
  const turn = new Turn(store, { run: () => void (letters = 0) });
  store.definitions.removeExchange("/", "any");
  turn.end();
  // The end of the next turn, which would send it, has not come yet.
  letters = 1;
  await waitUntil("the commit", () => !store.dirty || undefined);
  assertEquals(letters, 0);
  turn.stop();
  store.close();
});
