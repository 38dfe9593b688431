import { assertEquals } from "@std/assert";
import { interleave, median, table, verdict } from "../../scripts/bench/measure.ts";

Deno.test("median() takes the middle, or the mean of the two in the middle", () => {
  assertEquals(median([9, 1, 5]), 5);
  assertEquals(median([4, 1, 9, 2]), 3);
  assertEquals(median([7]), 7);
});

Deno.test("interleave() runs the contestants in turn and keeps their results apart", async () => {
  const order: string[] = [];
  const contestants = ["a", "b"].map((name) => ({
    name,
    run: () => Promise.resolve(`${name}${order.push(name)}`),
  }));
  assertEquals(await interleave(2, contestants), [["a1", "a3"], ["b2", "b4"]]);
});

Deno.test("table() aligns the first column left and the others right", () => {
  assertEquals(table([["name", "ms"], ["x", "12345"]]), "name     ms\nx     12345");
});

Deno.test("verdict() says when a number misses what was asked for", () => {
  assertEquals(verdict("ratio", 0.5, "<=", 0.5), "ratio: 0.50, asked for <= 0.5: met");
  assertEquals(verdict("ratio", 0.6, "<=", 0.5), "ratio: 0.60, asked for <= 0.5: MISSED");
  assertEquals(verdict("rate", 0.9, ">=", 1), "rate: 0.90, asked for >= 1: MISSED");
});
