import { assert } from "@std/assert";
import { fuzz } from "./fuzz.ts";

/** The same on every run; TEST_SEED tries others. */
const SEED = Number(Deno.env.get("TEST_SEED") ?? 1);

Deno.test("random sessions neither stop the broker, nor fill it, nor harm others", async () => {
  const verdicts = await fuzz(400, SEED);
  assert(verdicts.has("close-ok") && verdicts.has(501), `with seed ${SEED}`);
});
