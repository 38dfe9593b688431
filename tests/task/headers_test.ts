import { assertEquals } from "@std/assert";
import {
  deadProperties,
  originalRoute,
  originQueue,
  parkedProperties,
  readHistory,
  renewedProperties,
  replayProperties,
} from "../../src/task/headers.ts";
import type { Field, TaskProperties } from "../../src/task/task.ts";

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A task that has been through somebody's dead-letter exchange. */
const STALE: TaskProperties = {
  contentType: "application/json",
  contentEncoding: "gzip",
  deliveryMode: 1,
  priority: 4,
  correlationId: "c-1",
  replyTo: "answers",
  expiration: "60000",
  messageId: "m-1",
  timestamp: new Date(1_700_000_000_000),
  type: "thumbnail",
  userId: "alice",
  appId: "shop",
  headers: {
    "x-death": [{ queue: "q", reason: "delivery_limit", count: 1 }],
    "x-first-death-queue": "q",
    "x-first-death-reason": "delivery_limit",
    "x-last-death-exchange": "",
    "x-delivery-count": 3,
    "x-acquired-count": 4,
    CC: ["elsewhere"],
    BCC: ["hidden"],
    "x-tenant": "acme",
    colour: "blue",
  },
};

Deno.test("parkedProperties() keeps what is the sender's and drops what steers brokers", () => {
  const copy = parkedProperties(
    { properties: STALE, queue: "q" },
    { attempts: 2, error: "exit 3" },
    1_500,
  );
  assertEquals(copy, {
    contentType: "application/json",
    contentEncoding: "gzip",
    deliveryMode: 2,
    priority: 4,
    correlationId: "c-1",
    replyTo: "answers",
    messageId: "m-1",
    timestamp: new Date(1_700_000_000_000),
    type: "thumbnail",
    appId: "shop",
    headers: {
      "x-tenant": "acme",
      colour: "blue",
      "task-user-id": "alice",
      "task-expires-in": 58_500,
      "task-hops": 1,
      "task-origin-queue": "q",
      "task-attempt": 2,
      "task-error": "exit 3",
    },
  });
});

Deno.test("parkedProperties() carries what is left of the time to live", () => {
  const once = parkedProperties({ properties: { expiration: "1000" }, queue: "q" }, {
    attempts: 1,
  }, 300);
  const twice = parkedProperties({ properties: once, queue: "q" }, { attempts: 2 }, 500.4);
  assertEquals(twice.headers?.["task-expires-in"], 200);
  const over = parkedProperties({ properties: twice, queue: "q" }, { attempts: 3 }, 201);
  assertEquals(readHistory({ properties: over, redelivered: false }).expiresInMs, 0);
  const renewed = renewedProperties({ properties: once, queue: "q" }, { attempts: 1 }, 100);
  assertEquals([renewed.expiration, renewed.headers?.["task-expires-in"]], ["600", undefined]);
});

Deno.test("parkedProperties() forgets the wait and the crashes of the attempt before", () => {
  const waiting = parkedProperties({ properties: {}, queue: "q" }, {
    attempts: 0,
    crashes: 2,
    waitMs: 90_000,
  }, 0);
  assertEquals(readHistory({ properties: waiting, redelivered: false }), {
    attempts: 0,
    crashes: 2,
    losses: 0,
    waitMs: 90_000,
    replays: 0,
  });
  const failed = parkedProperties({ properties: waiting, queue: "q" }, { attempts: 1 }, 0);
  assertEquals(failed.headers, { "task-hops": 2, "task-origin-queue": "q", "task-attempt": 1 });
});

Deno.test("parkedProperties() leaves the received properties alone", () => {
  const before = structuredClone(STALE);
  parkedProperties({ properties: STALE, queue: "q" }, { attempts: 1 }, NOW);
  assertEquals(STALE, before);
});

Deno.test("deadProperties() says how a task died", () => {
  const copy = deadProperties({ properties: { messageId: "m" }, queue: "q" }, {
    reason: "max-attempts",
    attempts: 5,
    error: "exit 3",
    exitCode: 3,
    stderrTail: "no such table",
    host: "edge-7",
  }, NOW);
  assertEquals(copy.headers, {
    "task-hops": 1,
    "task-origin-queue": "q",
    "task-attempt": 5,
    "task-dead-reason": "max-attempts",
    "task-error": "exit 3",
    "task-exit-code": 3,
    "task-stderr-tail": "no such table",
    "task-host": "edge-7",
    "task-died-at": "2026-01-02T03:04:05.000Z",
  });
});

Deno.test("replayProperties() undoes a death: what the sender gave is left, and the replays", () => {
  const sent: TaskProperties = { messageId: "m", headers: { colour: "blue" } };
  const dead = deadProperties({ properties: sent, queue: "q" }, {
    reason: "rejected",
    attempts: 1,
    error: "exit 65",
    exitCode: 65,
    stderrTail: "bad",
    host: "h",
  }, NOW);
  const again = replayProperties({ ...dead, expiration: "5" }, 1);
  assertEquals(again, {
    messageId: "m",
    deliveryMode: 2,
    headers: { colour: "blue", "task-hops": 2, "task-origin-queue": "q", "task-replays": 1 },
  });
  assertEquals(originQueue(again), "q");
  const history = readHistory({ properties: again, redelivered: false });
  assertEquals(history, { attempts: 0, crashes: 0, losses: 0, replays: 1 });
});

Deno.test("readHistory() takes foreign values that make no sense for absent", () => {
  const nonsense: Field[] = [-1, 0.5, NaN, "", "x", "-3", null, {}, [], true, 2n ** 64n];
  for (const value of nonsense) {
    const headers = {
      "task-attempt": value,
      "task-crashes": value,
      "task-wait": value,
      "task-expires-in": value,
      "task-replays": value,
      "x-delivery-count": value,
    };
    const history = readHistory({ properties: { headers }, redelivered: false });
    assertEquals(
      history,
      { attempts: 0, crashes: 0, losses: 0, replays: 0 },
      String(value),
    );
  }
  assertEquals(readHistory({ properties: {}, redelivered: true }).losses, Infinity);
  const headers = { "task-attempt": "2", "task-wait": 5n, "x-delivery-count": 0 };
  assertEquals(readHistory({ properties: { headers }, redelivered: true }), {
    attempts: 2,
    crashes: 0,
    losses: 0,
    waitMs: 5,
    replays: 0,
  });
});

Deno.test("an error text of any length and shape stays a short well-formed header", () => {
  const copy = parkedProperties({ properties: {}, queue: "q" }, {
    attempts: 1,
    error: "x".repeat(1_023) + "\u{1f600}",
  }, NOW);
  assertEquals(copy.headers?.["task-error"], "x".repeat(1_023) + "\ufffd");
});

Deno.test("a copy keeps how the task was first published, over every further copy", () => {
  const first = { exchange: "logs", routingKey: "a.b", queue: "q", properties: {} };
  const parked = parkedProperties(first, { attempts: 1 }, NOW);
  const again = { exchange: "", routingKey: "q", queue: "q", properties: parked };
  assertEquals(originalRoute(again), { exchange: "logs", routingKey: "a.b" });
  const dead = deadProperties(again, { reason: "rejected", attempts: 2, host: "h" }, NOW);
  const replayed = { ...again, properties: replayProperties(dead, 1) };
  assertEquals(originalRoute(replayed), { exchange: "logs", routingKey: "a.b" });
  const plain = { ...again, properties: {} };
  assertEquals(originalRoute(plain), plain);
  assertEquals(parkedProperties(plain, { attempts: 1 }, NOW).headers?.["task-exchange"], undefined);
});
