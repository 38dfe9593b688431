import { assertEquals } from "@std/assert";
import type { Task } from "../../src/task/task.ts";
import { FinishedTasks } from "../../src/worker/finished.ts";

function delivered(id: string, redelivered: boolean, body = "x"): Task {
  return {
    id,
    redelivered,
    body: new TextEncoder().encode(body),
    properties: { messageId: id },
    queue: "q",
    exchange: "",
    routingKey: "q",
  };
}

Deno.test("an acknowledged task that comes back after its channel was lost is acknowledged, once", () => {
  const finished = new FinishedTasks();
  const channel = new AbortController();
  finished.acknowledged(delivered("a", false), channel.signal);
  assertEquals(finished.take(delivered("a", true)), undefined);
  channel.abort();
  assertEquals(finished.take(delivered("a", false)), undefined);
  assertEquals(finished.take(delivered("a", true, "another")), undefined);
  assertEquals(finished.take(delivered("a", true)), { kind: "ack", answered: true });
  assertEquals(finished.take(delivered("a", true)), undefined);
});

Deno.test("a task like one acknowledged long before its channel was lost is another one", () => {
  let now = 0;
  const finished = new FinishedTasks(() => now);
  const channel = new AbortController();
  finished.acknowledged(delivered("nightly", false), channel.signal);
  finished.acknowledged(delivered("other", false), new AbortController().signal);
  now = 50_000;
  finished.acknowledged(delivered("recent", false), channel.signal);
  now = 61_000;
  channel.abort();
  finished.channelLost();
  now = 120_000;
  assertEquals(finished.take(delivered("nightly", true)), undefined);
  assertEquals(finished.take(delivered("recent", true)), { kind: "ack", answered: true });
});

Deno.test("a task that is sent again and again, always alike, is never taken for a finished one", () => {
  const finished = new FinishedTasks();
  const [before, now] = [new AbortController(), new AbortController()];
  finished.acknowledged(delivered("nightly", false), before.signal);
  finished.acknowledged(delivered("nightly", false), now.signal);
  now.abort();
  assertEquals(finished.take(delivered("nightly", true)), undefined);
});
