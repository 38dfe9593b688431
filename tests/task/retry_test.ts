import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import type { Outcome } from "../../src/task/handler.ts";
import { type History, readHistory } from "../../src/task/headers.ts";
import { parkedProperties } from "../../src/task/headers.ts";
import { admit, decide, DEFAULT_POLICY, type RetryPolicy } from "../../src/task/retry.ts";
import { delayTiers } from "../../src/task/topology.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import { randomNumbers } from "../support/random.ts";

const FRESH: History = { attempts: 0, crashes: 0, losses: 0, replays: 0 };
const FAILED: Outcome = { kind: "failed", reason: "exit 1", exitCode: 1 };

Deno.test("decide() acknowledges a task that is done", () => {
  assertEquals(decide({ kind: "done" }, FRESH, DEFAULT_POLICY, 0.5), { kind: "ack" });
});

Deno.test("decide() parks a failed task for the backoff of its attempt", () => {
  const policy = { ...DEFAULT_POLICY, maxAttempts: 100 };
  const tiers = Array.from({ length: 9 }, (_, attempts) => {
    const decision = decide(FAILED, { ...FRESH, attempts }, policy, 0);
    assert(decision.kind === "park");
    assertEquals(decision.attempts, attempts + 1);
    assertEquals(decision.error, "exit 1");
    assertEquals(decision.leftMs, undefined);
    return decision.tierMs;
  });
  assertEquals(tiers, [1e3, 5e3, 15e3, 60e3, 300e3, 900e3, 3600e3, 3600e3, 3600e3]);
});

Deno.test("decide() buries a task whose last attempt failed, with the failure", () => {
  const decision = decide(FAILED, { ...FRESH, attempts: 4 }, DEFAULT_POLICY, 0);
  assertEquals(decision, {
    kind: "bury",
    reason: "max-attempts",
    attempts: 5,
    failure: FAILED as Outcome & { kind: "failed" },
  });
});

Deno.test("decide() buries a rejected task at its first attempt", () => {
  const outcome: Outcome = { kind: "rejected", reason: "exit 65", exitCode: 65 };
  const decision = decide(outcome, FRESH, DEFAULT_POLICY, 0);
  assertEquals(decision, { kind: "bury", reason: "rejected", attempts: 1, failure: outcome });
});

Deno.test("decide() counts no attempt for interrupted, unable and snoozed tasks", () => {
  for (const attempts of [0, 4, 70]) {
    const history = { ...FRESH, attempts };
    assertEquals(decide({ kind: "interrupted" }, history, DEFAULT_POLICY, 1), {
      kind: "requeue",
    });
    const unable: Outcome = { kind: "unable", reason: "command not found", exitCode: 127 };
    assertEquals(decide(unable, history, DEFAULT_POLICY, 1), { kind: "requeue" });
    const snoozed = decide({ kind: "snoozed", delayMs: 60_000 }, history, DEFAULT_POLICY, 1);
    assertEquals(snoozed, { kind: "park", tierMs: 60_000, attempts });
  }
});

Deno.test("decide() renews a blameless task that was given back before, with what it is to blame for", () => {
  const history = { ...FRESH, attempts: 2, crashes: 1, losses: 1 };
  const interrupted: Outcome = { kind: "interrupted" };
  assertEquals(decide(interrupted, history, DEFAULT_POLICY, 0), { kind: "renew", crashes: 1 });
  assertEquals(decide(interrupted, history, DEFAULT_POLICY, 0, 1), { kind: "renew", crashes: 2 });
  const innocent = { ...FRESH, losses: Infinity };
  assertEquals(decide(interrupted, innocent, DEFAULT_POLICY, 0), { kind: "renew" });
});

Deno.test("decide() follows the pause that the handler asks for", () => {
  const decision = decide({ ...FAILED, delayMs: 37 * 60_000 }, FRESH, DEFAULT_POLICY, 0);
  assertEquals(decision, {
    kind: "park",
    tierMs: 900_000,
    leftMs: 22 * 60_000,
    attempts: 1,
    error: "exit 1",
  });
});

Deno.test("a parked task waits its pause plus at most the jitter, whatever the numbers", () => {
  const random = randomNumbers(42);
  for (let round = 0; round < 500; round++) {
    const backoffMs = Array.from(
      { length: 1 + Math.floor(random() * 8) },
      () => 1 + Math.floor(10 ** (random() * 8)),
    );
    const policy: RetryPolicy = { maxAttempts: 9, backoffMs, jitter: random(), maxCrashes: 3 };
    const attempts = Math.floor(random() * 8);
    const pause = backoffMs[Math.min(attempts, backoffMs.length - 1)]!;
    let decision = decide(FAILED, { ...FRESH, attempts }, policy, random()) as ReturnType<
      typeof admit
    >;
    // Follow the copies from queue to queue until one of them runs.
    let waited = 0;
    let hops = 0;
    let properties: TaskProperties = {};
    while (decision.kind === "park") {
      assert(delayTiers(backoffMs).includes(decision.tierMs));
      assert(++hops < 40, `${hops} hops for ${pause} ms with ${backoffMs}`);
      properties = parkedProperties(
        { properties, queue: "q" },
        { ...decision, waitMs: decision.leftMs },
        0,
      );
      waited += decision.tierMs;
      decision = admit(readHistory({ properties, redelivered: false }), 0, policy);
    }
    assert(decision.kind === "run");
    assertEquals(decision.attempt, attempts + 2);
    assertGreaterOrEqual(waited, pause);
    assertLessOrEqual(waited, Math.round(pause * (1 + policy.jitter)) + 250);
  }
});

Deno.test("tasks that fail together come back apart: up to a fifth later, at random", () => {
  const random = randomNumbers(7);
  for (const [index, pause] of DEFAULT_POLICY.backoffMs.entries()) {
    const history = { ...FRESH, attempts: index };
    const policy = { ...DEFAULT_POLICY, maxAttempts: 99 };
    const waits = Array.from({ length: 1_000 }, () => {
      const decision = decide(FAILED, history, policy, random());
      assert(decision.kind === "park");
      return decision.tierMs + (decision.leftMs ?? 0) - pause;
    });
    assertGreaterOrEqual(Math.min(...waits), 0);
    assertLessOrEqual(Math.max(...waits), pause / 5);
    // Every eighth of the range has its share.
    for (let part = 0; part < 8; part++) {
      const [from, to] = [part, part + 1].map((edge) => edge * pause / 5 / 8) as [number, number];
      const there = waits.filter((wait) => wait >= from && wait < to).length;
      assertGreaterOrEqual(there, 30, `${pause} ms, part ${part}`);
      assertLessOrEqual(there, 300, `${pause} ms, part ${part}`);
    }
  }
});

Deno.test("a task that always fails is tried maxAttempts times, whatever the policy", () => {
  for (let maxAttempts = 1; maxAttempts < 12; maxAttempts++) {
    const policy = { ...DEFAULT_POLICY, maxAttempts };
    let properties: TaskProperties = {};
    let runs = 0;
    while (runs <= maxAttempts) {
      runs++;
      const history = readHistory({ properties, redelivered: false });
      const decision = decide(FAILED, history, policy, 0);
      if (decision.kind === "bury") break;
      assert(decision.kind === "park");
      properties = parkedProperties({ properties, queue: "q" }, decision, 0);
    }
    assertEquals(runs, maxAttempts);
  }
});

Deno.test("admit() runs a fresh task as its first attempt", () => {
  assertEquals(admit(FRESH, 0, DEFAULT_POLICY), { kind: "run", attempt: 1 });
});

Deno.test("a crash is a start whose worker vanished, and no delivery that was not begun", () => {
  const rows: [losses: number, starts: number | undefined, maxCrashes: number, dead: boolean][] = [
    [3, 2, 3, true],
    [2, 1, 3, false],
    // Delivered again and again, and begun once, or never.
    [50, 0, 3, false],
    [50, 1, 3, false],
    // Nobody counts deliveries.
    [Infinity, 1, 3, false],
    [Infinity, 2, 3, true],
    // One crash is too many, so the first start is written down, too.
    [7, 0, 1, false],
    [1, 1, 1, true],
    // Starts cannot be written down.
    [2, undefined, 3, false],
    [3, undefined, 3, true],
  ];
  for (const [losses, starts, maxCrashes, dead] of rows) {
    const policy = { ...DEFAULT_POLICY, maxCrashes };
    const admission = admit({ ...FRESH, losses }, starts, policy);
    const expected = dead
      ? { kind: "bury", reason: "crash-loop", attempts: 0 }
      : { kind: "run", attempt: 1 };
    assertEquals(admission, expected as typeof admission, `${[losses, starts, maxCrashes]}`);
  }
});

Deno.test("admit() writes crashes into the task where nothing else can count them", () => {
  let properties: TaskProperties = { headers: { "task-attempt": 1 } };
  const ends: string[] = [];
  for (let crash = 1; crash <= 3; crash++) {
    const history = readHistory({ properties, redelivered: true });
    const decision = admit(history, undefined, DEFAULT_POLICY);
    ends.push(decision.kind);
    if (decision.kind !== "park") break;
    assertEquals(decision.tierMs, 1_000);
    properties = parkedProperties({ properties, queue: "q" }, decision, 0);
    const back = readHistory({ properties, redelivered: false });
    assertEquals(back.crashes, crash);
    assertEquals(admit(back, 0, DEFAULT_POLICY), { kind: "run", attempt: 2 });
  }
  assertEquals(ends, ["park", "park", "bury"]);
});

Deno.test("admit() lets a task wait on, and takes no delivery before its time for a crash", () => {
  const policy = { ...DEFAULT_POLICY, maxCrashes: 1 };
  for (const delivered of [{}, { "x-delivery-count": 4 }]) {
    const headers = { "task-wait": 90_000, "task-crashes": 2, ...delivered };
    const history = readHistory({ properties: { headers }, redelivered: true });
    assertEquals(admit(history, 0, policy), {
      kind: "park",
      tierMs: 60_000,
      leftMs: 30_000,
      attempts: 0,
      crashes: 2,
    });
  }
});

Deno.test("admit() buries an expired task and parks one that has to wait on", () => {
  assertEquals(admit({ ...FRESH, expiresInMs: 0 }, 0, DEFAULT_POLICY), {
    kind: "bury",
    reason: "expired",
    attempts: 0,
  });
  assertEquals(admit({ ...FRESH, waitMs: 7_000 }, 0, DEFAULT_POLICY), {
    kind: "park",
    tierMs: 5_000,
    leftMs: 2_000,
    attempts: 0,
    crashes: 0,
  });
  assertEquals(admit({ ...FRESH, waitMs: 0 }, 0, DEFAULT_POLICY).kind, "run");
});
