import { assertEquals } from "@std/assert";
import {
  chooseTier,
  deadQueue,
  delayQueue,
  delayTiers,
  MAX_QUEUE_NAME_BYTES,
  STANDARD_TIERS,
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

Deno.test("chooseTier() never overshoots by more than the shortest standard delay", () => {
  const tiers = delayTiers([2_000, 250, 1_000]);
  assertEquals(tiers, [250, 1_000, 2_000, ...STANDARD_TIERS.slice(1)]);
  const cases = [
    [0, 250],
    [250, 250],
    [251, 1_000],
    [1_000, 1_000],
    [4_999, 2_000],
    [1e15, 86_400_000],
  ];
  for (const [delay, tier] of cases) assertEquals(chooseTier(delay!, tiers), tier);
});
