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

Deno.test("the latest that were acknowledged are known, as many as may be and have room", () => {
  const finished = new FinishedTasks(undefined, 400);
  const channel = new AbortController();
  const body = "x".repeat(60_000);
  const id = (n: number, size: string) => `${n} ${size}`;
  for (let n = 0; n < 400; n++) finished.acknowledged(delivered(id(n, "s"), false), channel.signal);
  for (let n = 0; n < 300; n++) {
    finished.acknowledged(delivered(id(n, "l"), false, body), channel.signal);
  }
  channel.abort();
  const isKnown = (n: number, size: string) =>
    finished.take(delivered(id(n, size), true, size === "l" ? body : "x")) !== undefined;
  assertEquals([isKnown(0, "l"), isKnown(20, "l"), isKnown(21, "l")], [false, false, true]);
  assertEquals([isKnown(299, "l"), isKnown(399, "s")], [true, false]);
  // The room of those that are gone is there again.
  const next = new AbortController();
  for (let n = 0; n < 401; n++) finished.acknowledged(delivered(id(n, "t"), false), next.signal);
  next.abort();
  assertEquals([isKnown(298, "l"), isKnown(0, "t"), isKnown(1, "t")], [false, false, true]);
});

Deno.test("the properties of those that were acknowledged take room, too", () => {
  const finished = new FinishedTasks(undefined, 400);
  const channel = new AbortController();
  for (let n = 0; n < 200; n++) {
    finished.acknowledged(delivered(`${n}`, false), channel.signal, 1, 100_000);
  }
  channel.abort();
  const isKnown = (n: number) => finished.take(delivered(`${n}`, true)) !== undefined;
  assertEquals([isKnown(32), isKnown(33)], [false, true]);
});
