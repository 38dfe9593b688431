/** The short form of `deno task power-cut`. */
import { assertEquals, assertGreater } from "@std/assert";
import { unless } from "../support/unless.ts";
import { cutPower, powerCutMissing } from "./power_cut.ts";

Deno.test({
  ...unless(
    powerCutMissing,
    "a power cut at any moment loses nothing confirmed and leaves nothing in part",
  ),
  async fn() {
    const violated: string[] = [];
    const say = (sentence: string) => void violated.push(sentence);
    const options = { messages: 1_000, images: 30, seed: 1, syncMs: 10, say };
    const verdict = await cutPower(options);
    assertEquals(violated, []);
    assertGreater(verdict.confirmed, 2_000);
    assertGreater(verdict.rewritten, 0, "no cut came after a checkpoint began");
    assertGreater(verdict.aside, 0, "no cut came after a thread synced the data file");
    // Cuts of a disk that has synced nothing are found out.
    const lying = await cutPower({ ...options, messages: 50, images: 5, isSynced: false });
    assertGreater(lying.lost + lying.torn, 0);
  },
});
