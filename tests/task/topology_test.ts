import { assertEquals } from "@std/assert";
import {
  chooseTier,
  deadQueue,
  delayQueue,
  delayTiers,
  MAX_QUEUE_NAME_BYTES,
  STANDARD_TIERS,
  startsQueue,
  workQueue,
} from "../../src/task/topology.ts";

Deno.test("workQueue() declares exactly what the tutorial programs declare", () => {
  assertEquals(workQueue("q"), { name: "q", arguments: { "x-queue-type": "quorum" } });
  assertEquals(workQueue("q", "classic"), { name: "q", arguments: {} });
});

Deno.test("delayQueue() returns tasks to the work queue after its delay, at least once", () => {
  assertEquals(delayQueue("q", 5_000), {
    name: "q.delay.5000",
    essential: [
      "durable",
      "x-message-ttl",
      "x-dead-letter-exchange",
      "x-dead-letter-routing-key",
      "x-expires",
    ],
    arguments: {
      "x-queue-type": "quorum",
      "x-message-ttl": 5_000,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": "q",
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    },
  });
});

Deno.test("delayQueue() as classic has none of the arguments that classic queues refuse", () => {
  assertEquals(delayQueue("q", 5_000, "classic").arguments, {
    "x-message-ttl": 5_000,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "q",
  });
});

Deno.test("deadQueue() keeps tasks for ever unless told otherwise", () => {
  assertEquals(deadQueue("q"), { name: "q.dead", arguments: { "x-queue-type": "quorum" } });
  assertEquals(deadQueue("q", "classic", 60_000).arguments, { "x-message-ttl": 60_000 });
});

Deno.test("the longest work queue name leaves room for every delay queue's name", () => {
  const longest = delayQueue("q".repeat(MAX_QUEUE_NAME_BYTES), 2 ** 31 - 1).name;
  assertEquals(longest.length, 255);
});

Deno.test("a longest name leaves room for the queue of a task's starts", () => {
  const { name } = startsQueue("q".repeat(MAX_QUEUE_NAME_BYTES), "0123456789");
  assertEquals(name.length, 255);
});

Deno.test("chooseTier() overshoots by a quarter of a second at most", () => {
  const tiers = delayTiers([2_000, 250, 1_000]);
  assertEquals(tiers, [25, 50, 100, 200, 250, 500, 1_000, 2_000, ...STANDARD_TIERS.slice(6)]);
  const cases = [
    [0, 25],
    [26, 50],
    [251, 500],
    [749, 500],
    [750, 1_000],
    [4_749, 2_000],
    [4_750, 5_000],
    [1e15, 86_400_000],
  ];
  for (const [delay, tier] of cases) assertEquals(chooseTier(delay!, tiers), tier, `${delay}`);
});
