import { assertEquals, assertRejects } from "@std/assert";
import { FairQueue } from "../../src/broker/fair_queue.ts";

Deno.test("whoever has much work does not make others wait for all of it", async () => {
  const queue = new FairQueue();
  const order: string[] = [];
  const work = (owner: string, name: string) =>
    queue.add(owner, async () => {
      await Promise.resolve();
      order.push(name);
      return name;
    });
  const first = ["a1", "a2", "a3", "a4"].map((name) => work("a", name));
  const others = [work("b", "b1"), work("c", "c1"), work("b", "b2")];
  assertEquals(await Promise.all([...first, ...others]), [
    ...["a1", "a2", "a3", "a4", "b1", "c1", "b2"],
  ]);
  assertEquals(order, ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
  assertEquals(await work("a", "a5"), "a5");
});

Deno.test("work that fails fails for its owner only", async () => {
  const queue = new FairQueue();
  const failing = queue.add("a", () => Promise.reject(new Error("no")));
  const next = queue.add("a", () => Promise.resolve(1));
  await assertRejects(() => failing, Error, "no");
  assertEquals(await next, 1);
});
