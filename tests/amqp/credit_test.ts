import { assertEquals } from "@std/assert";
import { Acknowledgements, type OpenDelivery } from "../../src/amqp/acknowledgements.ts";
import { Credit } from "../../src/amqp/credit.ts";

Deno.test("whatever a consumer may have, it has when those before it are settled, too", async () => {
  const acknowledgements = new Acknowledgements(() => {});
  const credit = new Credit(acknowledgements, () => Promise.resolve(1));
  const open: OpenDelivery[] = [];
  let tag = 0;
  const come = (count: number) => {
    for (; count > 0; count--) {
      open.push({ tag: ++tag, before: undefined, after: undefined });
      acknowledgements.came(open.at(-1)!);
      credit.came();
    }
  };
  const acknowledge = (count: number) =>
    open.splice(0, count).forEach((delivery) => acknowledgements.acknowledge(delivery));
  /** Whether there is nothing to wait for; one more comes where there is. */
  const isUsedUp = async () => {
    const looked = Promise.withResolvers<boolean>();
    const waiting = credit.useUp().then(() => looked.resolve(true));
    setTimeout(() => looked.resolve(false));
    const isUsedUp = await looked.promise;
    if (!isUsedUp) come(1);
    await waiting;
    return isUsedUp;
  };

  credit.begin(3);
  come(2);
  assertEquals(await isUsedUp(), false);
  assertEquals(open.length, 3);
  acknowledgements.release();
  // All are open: they are acknowledged before more come, and meanwhile.
  credit.begin(5);
  acknowledge(1);
  acknowledgements.flush();
  come(3);
  acknowledgements.settled(open.pop()!);
  come(2);
  assertEquals(await isUsedUp(), false);
  acknowledge(3);
  assertEquals([open.length, await isUsedUp()], [4, true]);
});

Deno.test("a broker that is silent is asked whether there is more, and given time for it", async () => {
  const acknowledgements = new Acknowledgements(() => {});
  const left = [2, 2, 0];
  const credit = new Credit(acknowledgements, () => Promise.resolve(left.shift()!));
  credit.begin(3);
  acknowledgements.came({ tag: 1, before: undefined, after: undefined });
  credit.came();
  await credit.useUp();
  assertEquals(left, []);
});

Deno.test("a consumer to which nothing was sent, because others are first, does not wait for more", async () => {
  const credit = new Credit(
    new Acknowledgements(() => {}),
    () => Promise.reject(new Error("nobody asks")),
  );
  credit.begin(3);
  await credit.useUp();
});
