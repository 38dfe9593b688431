/** Whose turn it is among the consumers of a queue, held against a list that is sorted each time. */
import { assert, assertEquals } from "@std/assert";
import { ConsumerList, type QueueConsumer } from "../../src/broker/queue/consumers.ts";
import { Random } from "../support/random.ts";
import { ownThreadTime } from "../support/thread_time.ts";

class Fake implements QueueConsumer {
  readonly exclusive = false;
  canceled = false;
  hasRoom = true;
  asked = 0;

  constructor(readonly priority: number) {}

  askForRoom(): boolean {
    this.asked++;
    return this.hasRoom;
  }

  deliver(): void {}
  queueGone(): void {}
}

Deno.test("consumers of any priorities come and go, and the highest with room gets the next message", () => {
  const random = new Random(7);
  const list = new ConsumerList(undefined);
  let here: Fake[] = [];
  for (let n = 0; n < 3_000; n++) {
    const step = random.below(10);
    if (step < 5) {
      const one = new Fake(random.below(40) - 20);
      one.hasRoom = random.below(3) > 0;
      here.push(one);
      list.add(one);
    } else if (step === 5) {
      const leaving = here.filter(() => random.below(3) === 0);
      here = here.filter((one) => !leaving.includes(one));
      list.remove([...leaving, new Fake(1)]);
    } else {
      const free = here.filter(({ hasRoom }) => hasRoom);
      const highest = Math.max(...free.map(({ priority }) => priority));
      const next = list.next() as Fake | undefined;
      if (free.length === 0) assertEquals(next, undefined);
      else assertEquals([next?.priority, next?.hasRoom], [highest, true]);
    }
    assertEquals(list.size, here.length);
  }
  assertEquals(new Set(list.all()), new Set<QueueConsumer>(here));
});

Deno.test("within a priority everybody has his turn, also when others leave", () => {
  const list = new ConsumerList(undefined);
  const all = Array.from({ length: 9 }, () => new Fake(0));
  for (const one of all) list.add(one);
  assertEquals([list.next(), list.next()], all.slice(0, 2));
  list.remove(all.filter((_, n) => n % 3 === 0));
  const left = all.filter((_, n) => n % 3 !== 0);
  const turns = left.map(() => list.next());
  assertEquals(turns, [...left.slice(1), left[0]]);
});

Deno.test("the active one stays while others come and go; its successor is the first, or the highest", () => {
  for (const [single, expected] of [["in turn", 1], ["by priority", 3]] as const) {
    const list = new ConsumerList(single);
    const all = [0, 0, 5, 9, 9].map((priority) => new Fake(priority));
    for (const one of all) list.add(one);
    assertEquals(list.next(), all[0]);
    list.remove([all[0]!]);
    list.add(new Fake(20));
    assertEquals(list.next(), all[expected]);
    list.remove(list.all());
    assertEquals(list.next(), undefined);
    const last = new Fake(1);
    list.add(last);
    assertEquals(list.next(), last);
  }
});

Deno.test("very many consumers of as many priorities come, and leave at once", () => {
  const list = new ConsumerList(undefined);
  const all = Array.from({ length: 15_000 }, (_, n) => new Fake(n * 7919 % 15_000));
  const start = ownThreadTime().computed;
  for (const one of all) list.add(one);
  list.remove(all.slice(1));
  assertEquals(list.next(), all[0]);
  // A walk through all for each takes far longer.
  const took = ownThreadTime().computed - start;
  assert(took < 5_000, `${took} ms`);
});

Deno.test("asking very many who are busy counts as many deliveries", () => {
  const list = new ConsumerList(undefined);
  const all = Array.from({ length: 3_200 }, () => new Fake(0));
  for (const one of all) {
    one.hasRoom = false;
    list.add(one);
  }
  list.next();
  assertEquals(list.effort, 100);
  all[0]!.hasRoom = true;
  list.next();
  assertEquals(list.effort, 0);
});
