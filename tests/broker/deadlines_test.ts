/** Deadlines: in their order, and in pieces when very many are due. */
import { assert, assertEquals } from "@std/assert";
import { Deadlines } from "../../src/time/deadlines.ts";
import { now } from "../../src/time/clock.ts";

function fail(error: unknown): never {
  throw error;
}

Deno.test("of very many deadlines that are due a few go at a time, and what they wake goes on between", async () => {
  const count = 2_000;
  let goes = 0;
  const others: (() => void)[] = [];
  const deadlines = new Deadlines(fail, (run) => {
    goes++;
    others.push(run);
    setImmediate(() => others.shift()!());
  });
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const order: number[] = [];
  let woken = 0;
  let mostAhead = 0;
  const at = now();
  for (let n = 0; n < count; n++) {
    const rung = new Promise<void>((ring) =>
      deadlines.add(at + n % 2, () => (order.push(n), ring()))
    );
    rung.then(() => {
      mostAhead = Math.max(mostAhead, order.length - woken);
      if (++woken === count) resolve();
    });
  }
  await all;
  deadlines.stop();
  assert(goes >= count / 100, `${goes} goes`);
  assert(mostAhead <= 100, `${mostAhead} at once`);
  assertEquals(order.map((n) => n % 2).join(""), "0".repeat(count / 2) + "1".repeat(count / 2));
});

Deno.test("a deadline that is added while very many are due has its turn in the order of the times", async () => {
  const deadlines = new Deadlines(fail);
  const order: string[] = [];
  const at = now();
  for (let n = 0; n < 500; n++) deadlines.add(at, () => order.push("due"));
  const early = deadlines.add(at - 1, () => order.push("canceled"));
  deadlines.cancel(early);
  await new Promise<void>((resolve) => {
    deadlines.add(at, () => deadlines.add(at - 1, () => order.push("earlier")));
    deadlines.after(20, () => (order.push("later"), resolve()));
  });
  deadlines.stop();
  assertEquals(order.length, 502);
  assertEquals([order.indexOf("later"), order.includes("canceled")], [501, false]);
  assert(order.includes("earlier"));
});
