import { assertEquals, assertLess } from "@std/assert";
import { ByTag } from "../../src/broker/channel/by_tag.ts";
import { run } from "../support/process.ts";
import { Random } from "../support/random.ts";

/** What a generation of deliveries takes is some MB in this many rounds. */
const ROUNDS = 50;
const MOST_KB = 1_000;

Deno.test("what is under a tag is what a map has there, in its order, with gaps or without", () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = new Random(seed);
    const byTag = new ByTag<{ tag: number }>();
    const expected = new Map<number, { tag: number }>();
    let last = 0;
    for (let step = 0; step < 2_000; step++) {
      if (random.below(2_000) < step) {
        const tag = 1 + random.below(last + 2);
        assertEquals(byTag.delete(tag), expected.delete(tag));
      } else {
        last += 1 + (seed % 2) * random.below(3);
        byTag.add(last, { tag: last });
        expected.set(last, { tag: last });
      }
      const tag = random.below(last + 2);
      assertEquals(byTag.get(tag), expected.get(tag));
      assertEquals(byTag.size, expected.size);
      if (step % 50 === 0) assertEquals([...byTag.values()], [...expected.values()]);
    }
    byTag.clear();
    assertEquals([byTag.size, ...byTag.values()], [0]);
  }
});

Deno.test("values that come and go while they are looked at are those that are there then", () => {
  const byTag = new ByTag<{ tag: number }>();
  const add = (tag: number) => byTag.add(tag, { tag });
  for (let tag = 1; tag <= 1_000; tag++) add(tag);
  const seen: number[] = [];
  const values = byTag.values();
  for (const { tag } of values) {
    seen.push(tag);
    // All before it, which moves the others together, and some behind it.
    byTag.delete(tag);
    byTag.delete(tag + 1);
    if (tag === 501) break;
  }
  add(2_000);
  // Leaving the loop has not ended it.
  for (const { tag } of values) seen.push(tag);
  const odd = Array.from({ length: 251 }, (_, index) => 2 * index + 1);
  const rest = Array.from({ length: 498 }, (_, index) => 503 + index);
  assertEquals(seen, [...odd, ...rest, 2_000]);
});

Deno.test("what is gone goes with the next collection of the young, in however many rounds", async () => {
  const module = new URL("../../src/broker/channel/by_tag.ts", import.meta.url).href;
  const { stdout, stderr, code } = await run(Deno.execPath(), {
    args: ["run", "--quiet", "--no-lock", "--v8-flags=--expose-gc", "-"],
    stdin: `
      import { ByTag } from ${JSON.stringify(module)};
      const byTag = new ByTag();
      let last = 0;
      const pass = (count) => {
        for (let n = 0; n < count; n++) byTag.add(++last, { body: new Array(20).fill(last) });
        for (let tag = last - count + 1; tag <= last; tag++) byTag.delete(tag);
      };
      pass(1_000);
      gc(); // it is old now
      gc();
      const before = Deno.memoryUsage().heapUsed;
      for (let round = 0; round < ${ROUNDS}; round++) {
        for (let n = 0; n < 5; n++) pass(1_000);
        gc({ type: "minor" });
      }
      console.log(Math.round((Deno.memoryUsage().heapUsed - before) / 1000));
    `,
  });
  assertEquals([code, stderr], [0, ""]);
  assertLess(Number(stdout), MOST_KB);
});
