import { assertEquals } from "@std/assert";
import { Unsettled } from "../../src/amqp/unsettled.ts";
import { Random } from "../support/random.ts";

Deno.test("what is unsettled is what was added and not taken, oldest first, in any order of settling", () => {
  const random = new Random(7);
  for (const most of [1, 3, 40, 1_000]) {
    const unsettled = new Unsettled<string>();
    const model = new Map<number, string>();
    for (let step = 0; step < 10_000; step++) {
      const tags = [...model.keys()];
      if (tags.length < most && random.next() < 0.6) {
        const text = `item ${step}`;
        const tag = unsettled.add(text);
        assertEquals(tag, unsettled.last);
        model.set(tag, text);
      } else if (random.next() < 0.01) {
        const upTo = tags[Math.floor(tags.length / 3)] ?? 0;
        for (const tag of tags.filter((tag) => tag <= upTo)) {
          assertEquals(unsettled.takeOldest(upTo), model.get(tag));
          model.delete(tag);
        }
        assertEquals(unsettled.takeOldest(upTo), undefined);
      } else {
        // Mostly one of the oldest, and now and then one that is not there.
        const tag = random.next() < 0.05
          ? random.below(step + 1)
          : tags[Math.floor(random.next() ** 3 * tags.length)] ?? 0;
        assertEquals(unsettled.take(tag), model.get(tag));
        model.delete(tag);
      }
      if (step % 97 === 0) assertEquals([...unsettled.values()], [...model.values()]);
      assertEquals(unsettled.size, model.size);
      assertEquals(unsettled.oldest, model.values().next().value);
    }
    unsettled.clear();
    assertEquals([unsettled.size, unsettled.oldest, ...unsettled.values()], [0, undefined]);
    assertEquals(unsettled.take(unsettled.add("late")), "late");
  }
});

Deno.test("one that stays while many come and go is not lost", () => {
  const unsettled = new Unsettled<string>();
  const stays = unsettled.add("stays");
  for (let i = 0; i < 100_000; i++) assertEquals(unsettled.take(unsettled.add("goes")), "goes");
  assertEquals([unsettled.oldest, unsettled.size], ["stays", 1]);
  assertEquals([unsettled.take(stays), unsettled.take(stays)], ["stays", undefined]);
});

Deno.test("others may be added while the oldest are taken", () => {
  const unsettled = new Unsettled<number>();
  for (let i = 1; i <= 100; i++) unsettled.add(i);
  for (let i = 1; i <= 90; i++) if (i % 3 > 0) unsettled.take(i);
  const seen: number[] = [];
  const { last } = unsettled;
  for (let item; (item = unsettled.takeOldest(last)) !== undefined;) {
    seen.push(item);
    for (let i = 0; i < 20; i++) unsettled.take(unsettled.add(0));
    unsettled.add(1_000);
  }
  const expected = Array.from({ length: 100 }, (_, i) => i + 1)
    .filter((i) => i > 90 || i % 3 === 0);
  assertEquals(seen, expected);
  assertEquals(unsettled.size, expected.length);
});
