import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import type { Outcome } from "../../src/task/handler.ts";
import { type History, readHistory } from "../../src/task/headers.ts";
import { parkedProperties } from "../../src/task/headers.ts";
import { admit, decide, DEFAULT_POLICY, type RetryPolicy } from "../../src/task/retry.ts";
import { delayTiers } from "../../src/task/topology.ts";
import type { TaskProperties } from "../../src/task/task.ts";

const FRESH: History = { attempts: 0, crashes: 0, pastCrashes: 0, replays: 0, counted: false };
const FAILED: Outcome = { kind: "failed", reason: "exit 1", exitCode: 1 };
const NOW = Date.UTC(2026, 0, 1);

/** Numbers from 0 to 1 that are the same in every run (Lehmer, modulus 2^31 - 1). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => (state = state * 48_271 % 2_147_483_647) / 2_147_483_647;
}

Deno.test("decide() acknowledges a task that is done", () => {
  assertEquals(decide({ kind: "done" }, FRESH, DEFAULT_POLICY, 0.5, NOW), { kind: "ack" });
});

Deno.test("decide() parks a failed task for the backoff of its attempt", () => {
  const policy = { ...DEFAULT_POLICY, maxAttempts: 100 };
  const tiers = Array.from({ length: 9 }, (_, attempts) => {
    const decision = decide(FAILED, { ...FRESH, attempts }, policy, 0, NOW);
    assert(decision.kind === "park");
    assertEquals(decision.attempts, attempts + 1);
    assertEquals(decision.error, "exit 1");
    assertEquals(decision.notBefore, undefined);
    return decision.tierMs;
  });
  assertEquals(tiers, [1e3, 5e3, 15e3, 60e3, 300e3, 900e3, 3600e3, 3600e3, 3600e3]);
});

Deno.test("decide() buries a task whose last attempt failed, with the failure", () => {
  const decision = decide(FAILED, { ...FRESH, attempts: 4 }, DEFAULT_POLICY, 0, NOW);
  assertEquals(decision, {
    kind: "bury",
    reason: "max-attempts",
    attempts: 5,
    failure: FAILED as Outcome & { kind: "failed" },
  });
});

Deno.test("decide() buries a rejected task at its first attempt", () => {
  const outcome: Outcome = { kind: "rejected", reason: "exit 65", exitCode: 65 };
  const decision = decide(outcome, FRESH, DEFAULT_POLICY, 0, NOW);
  assertEquals(decision, { kind: "bury", reason: "rejected", attempts: 1, failure: outcome });
});

Deno.test("decide() counts no attempt for interrupted, unable and snoozed tasks", () => {
  for (const attempts of [0, 4, 70]) {
    const history = { ...FRESH, attempts };
    assertEquals(decide({ kind: "interrupted" }, history, DEFAULT_POLICY, 1, NOW), {
      kind: "requeue",
    });
    const unable: Outcome = { kind: "unable", reason: "command not found", exitCode: 127 };
    assertEquals(decide(unable, history, DEFAULT_POLICY, 1, NOW), { kind: "requeue" });
    const snoozed = decide({ kind: "snoozed", delayMs: 60_000 }, history, DEFAULT_POLICY, 1, NOW);
    assertEquals(snoozed, { kind: "park", tierMs: 60_000, attempts });
  }
});

Deno.test("decide() renews a blameless task that the next worker would take for a crash loop", () => {
  const policies = [[1, DEFAULT_POLICY], [2, DEFAULT_POLICY], [0, {
    ...DEFAULT_POLICY,
    maxCrashes: 1,
  }]] as const;
  for (const [crashes, policy] of policies) {
    const history = { ...FRESH, attempts: 2, crashes, counted: true };
    assertEquals(decide({ kind: "interrupted" }, history, policy, 0, NOW), { kind: "renew" });
  }
});

Deno.test("decide() follows the pause that the handler asks for", () => {
  const decision = decide({ ...FAILED, delayMs: 37 * 60_000 }, FRESH, DEFAULT_POLICY, 0, NOW);
  assertEquals(decision, {
    kind: "park",
    tierMs: 900_000,
    attempts: 1,
    error: "exit 1",
    notBefore: NOW + 37 * 60_000,
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
    let decision = decide(FAILED, { ...FRESH, attempts }, policy, random(), NOW) as ReturnType<
      typeof admit
    >;
    // Follow the copies from queue to queue until one of them runs.
    let now = NOW;
    let hops = 0;
    let properties: TaskProperties = {};
    while (decision.kind === "park") {
      assert(delayTiers(backoffMs).includes(decision.tierMs));
      assert(++hops < 30, `${hops} hops for ${pause} ms with ${backoffMs}`);
      properties = parkedProperties({ properties, queue: "q" }, decision, now);
      now += decision.tierMs;
      decision = admit(readHistory({ properties, redelivered: false }), false, policy, now);
    }
    assert(decision.kind === "run");
    assertEquals(decision.attempt, attempts + 2);
    assertGreaterOrEqual(now - NOW, pause);
    assertLessOrEqual(now - NOW, Math.round(pause * (1 + policy.jitter)));
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
      const decision = decide(FAILED, history, policy, 0, NOW);
      if (decision.kind === "bury") break;
      assert(decision.kind === "park");
      properties = parkedProperties({ properties, queue: "q" }, decision, NOW);
    }
    assertEquals(runs, maxAttempts);
  }
});

Deno.test("admit() runs a fresh task as its first attempt", () => {
  assertEquals(admit(FRESH, false, DEFAULT_POLICY, NOW), { kind: "run", attempt: 1 });
});

Deno.test("admit() buries a task whose workers vanished maxCrashes times before it runs again", () => {
  const twice = readHistory({
    properties: { headers: { "x-delivery-count": 2 } },
    redelivered: true,
  });
  assertEquals(admit(twice, true, DEFAULT_POLICY, NOW), { kind: "run", attempt: 1 });
  const thrice = readHistory({
    properties: { headers: { "x-delivery-count": 1, "x-acquired-count": 3n } },
    redelivered: true,
  });
  assertEquals(admit(thrice, true, DEFAULT_POLICY, NOW), {
    kind: "bury",
    reason: "crash-loop",
    attempts: 0,
  });
});

Deno.test("admit() writes crashes down where the broker does not count, and buries at the limit", () => {
  let properties: TaskProperties = { headers: { "task-attempt": 1 } };
  const ends: string[] = [];
  for (let crash = 1; crash <= 3; crash++) {
    const decision = admit(
      readHistory({ properties, redelivered: true }),
      true,
      DEFAULT_POLICY,
      NOW,
    );
    ends.push(decision.kind);
    if (decision.kind !== "park") break;
    assertEquals(decision.tierMs, 1_000);
    properties = parkedProperties({ properties, queue: "q" }, decision, NOW);
    const back = readHistory({ properties, redelivered: false });
    assertEquals(back.crashes, crash);
    assertEquals(admit(back, false, DEFAULT_POLICY, NOW), { kind: "run", attempt: 2 });
  }
  assertEquals(ends, ["park", "park", "bury"]);
});

Deno.test("admit() lets a task wait on, and takes no delivery before its time for a crash", () => {
  const policy = { ...DEFAULT_POLICY, maxCrashes: 1 };
  for (const delivered of [{}, { "x-delivery-count": 4 }]) {
    const headers = { "task-not-before": NOW + 90_000, "task-crashes": 2, ...delivered };
    const history = readHistory({ properties: { headers }, redelivered: true });
    assertEquals(admit(history, true, policy, NOW), {
      kind: "park",
      tierMs: 60_000,
      attempts: 0,
      crashes: 2,
      notBefore: NOW + 90_000,
    });
  }
});

Deno.test("admit() buries an expired task and parks one that came too early", () => {
  assertEquals(admit({ ...FRESH, expiresAt: NOW }, false, DEFAULT_POLICY, NOW), {
    kind: "bury",
    reason: "expired",
    attempts: 0,
  });
  assertEquals(admit({ ...FRESH, notBefore: NOW + 7_000 }, false, DEFAULT_POLICY, NOW), {
    kind: "park",
    tierMs: 5_000,
    attempts: 0,
    crashes: 0,
    notBefore: NOW + 7_000,
  });
  const soon = admit({ ...FRESH, notBefore: NOW + 999 }, false, DEFAULT_POLICY, NOW);
  assertEquals(soon.kind, "run");
});
