import { assert, assertEquals } from "@std/assert";
import { Acknowledgements, type OpenDelivery } from "../../src/amqp/acknowledgements.ts";
import { Random } from "../support/random.ts";

const ROUNDS = 300;

function delivery(tag: number): OpenDelivery {
  return { tag, before: undefined, after: undefined };
}

Deno.test("what is acknowledged in one turn is told in one word where none before it is open", async () => {
  const told: [number, boolean][] = [];
  const acknowledgements = new Acknowledgements((...words) => told.push(words));
  const all = [1, 2, 3, 4, 5, 6].map(delivery);
  for (const each of all) acknowledgements.came(each);
  acknowledgements.acknowledge(all[0]!);
  await Promise.resolve();
  assertEquals(told.splice(0), [[1, false]]);
  for (const index of [3, 1, 2]) acknowledgements.acknowledge(all[index]!);
  acknowledgements.acknowledge(all[5]!);
  await Promise.resolve();
  assertEquals(told, [[4, true], [6, false]]);
  assertEquals([all[1]!.before, all[1]!.after, all[4]!.before], [undefined, undefined, undefined]);
});

Deno.test("where many are in hand, those of several turns are told together, or after a moment", async () => {
  const told: [number, boolean][] = [];
  let onTold = () => {};
  const acknowledgements = new Acknowledgements((...words) => {
    told.push(words);
    onTold();
  }, 4);
  const all = Array.from({ length: 20 }, (_, i) => delivery(i + 1));
  for (const each of all) acknowledgements.came(each);
  for (const each of all.splice(0, 3)) acknowledgements.acknowledge(each);
  await Promise.resolve();
  assertEquals(told, []);
  acknowledgements.acknowledge(all.shift()!);
  await Promise.resolve();
  assertEquals(told.splice(0), [[4, true]]);
  acknowledgements.acknowledge(all.shift()!);
  await new Promise<void>((resolve) => onTold = resolve);
  assertEquals(told.splice(0), [[5, false]]);
  // As soon as few are left, nothing waits.
  for (const each of all.splice(0, 13)) acknowledgements.settled(each);
  for (const each of all.splice(0, 1)) acknowledgements.acknowledge(each);
  await Promise.resolve();
  assertEquals(told, [[19, false]]);
});

Deno.test("whatever the order, the broker hears of each once, and never of one that is open", () => {
  const random = new Random(5);
  const isKnown = new Set<number>();
  const wanted = new Set<number>();
  const acknowledgements = new Acknowledgements((tag, multiple) => {
    // As a broker takes it: it must know the tag, and settles all that it knows up to there.
    assert(isKnown.has(tag), `${tag} is settled`);
    for (const each of multiple ? [...isKnown].filter((known) => known <= tag) : [tag]) {
      assert(wanted.delete(each), `${each} is open`);
      isKnown.delete(each);
    }
  });
  const open: OpenDelivery[] = [];
  let last = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (let count = random.below(8); count > 0; count--) {
      open.push(delivery(++last));
      isKnown.add(last);
      acknowledgements.came(open.at(-1)!);
    }
    for (let count = random.below(8); count > 0 && open.length > 0; count--) {
      const [one] = open.splice(random.below(Math.min(open.length, 6)), 1);
      if (random.below(5) > 0) {
        wanted.add(one!.tag);
        acknowledgements.acknowledge(one!);
      } else {
        acknowledgements.settled(one!);
        isKnown.delete(one!.tag);
      }
    }
    acknowledgements.flush();
    assertEquals(wanted.size, 0);
  }
});
