import { assertEquals } from "@std/assert";
import { heed } from "../../src/front/signal.ts";

Deno.test("a signal that many heed has one listener, and calls those back that still do", () => {
  const controller = new AbortController();
  const { signal } = controller;
  let added = 0;
  const add = signal.addEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    added++;
    add(...args);
  };
  const called: number[] = [];
  const ends = Array.from({ length: 1_000 }, (_, i) => heed(signal, () => called.push(i)));
  ends.forEach((end, i) => i % 100 === 7 || end());
  heed(undefined, () => called.push(-1))();
  assertEquals([added, called], [1, []]);
  controller.abort();
  assertEquals(called, [7, 107, 207, 307, 407, 507, 607, 707, 807, 907]);
  heed(signal, () => called.push(1_000))();
  assertEquals([added, called.at(-1)], [1, 1_000]);
});
