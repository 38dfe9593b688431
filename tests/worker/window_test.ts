import { assertEquals } from "@std/assert";
import type { Delivery } from "../../src/amqp/consumption.ts";
import { EarlyIntake } from "../../src/worker/intake.ts";
import { Window, windowSize } from "../../src/worker/window.ts";

/** What a window asks of its consumer. */
class Asked {
  readonly limits: number[] = [];
  readonly readings: boolean[] = [];
  #prefetch: number;

  constructor(prefetch = 1) {
    this.#prefetch = prefetch;
  }

  get prefetch(): number {
    return this.#prefetch;
  }

  set prefetch(prefetch: number) {
    this.#prefetch = prefetch;
    this.limits.push(prefetch);
  }

  set reading(reading: boolean) {
    this.readings.push(reading);
  }
}

function delivery(bytes: number, since = performance.now()): Delivery {
  return { task: { body: new Uint8Array(bytes) }, since } as unknown as Delivery;
}

const SIZE = { tasks: 256, bytes: 1024 * 1024 };

Deno.test("as many tasks are in hand as their size allows, from one at the beginning", () => {
  const asked = new Asked();
  const window = new Window(asked, SIZE, () => Promise.resolve());
  for (let i = 0; i < 3; i++) window.take(delivery(100));
  assertEquals(asked.limits, [16, 256]);
  window.take(delivery(300_000));
  assertEquals(asked.prefetch, 3);
  // The large one is forgotten bit by bit.
  for (let i = 0; i < 1_000; i++) window.take(delivery(100));
  assertEquals(asked.prefetch, 256);
});

Deno.test("more than there is room for is left unread until there is", async () => {
  const asked = new Asked();
  const ends: (() => void)[] = [];
  const run = () => new Promise<void>((resolve) => ends.push(resolve));
  const window = new Window(asked, SIZE, run);
  const taken = [600_000, 600_000].map((bytes) => window.take(delivery(bytes)));
  assertEquals(asked.readings, [false]);
  // A new connection is read again unless it is told.
  window.connected();
  assertEquals(asked.readings, [false, false]);
  ends[0]!();
  await taken[0];
  assertEquals(asked.readings, [false, false, true]);
  ends[1]!();
  await taken[1];
});

Deno.test("tasks that stay for long become fewer", async () => {
  const asked = new Asked();
  const window = new Window(asked, SIZE, () => Promise.resolve());
  for (let i = 0; i < 3; i++) await window.take(delivery(100));
  assertEquals(asked.prefetch, 256);
  await window.take(delivery(100, performance.now() - 61_000));
  await window.take(delivery(100));
  assertEquals(asked.prefetch, 128);
});

Deno.test("where memory has a limit all are asked for at once, until large ones come", async () => {
  const room = { bytes: SIZE.bytes, single: SIZE.bytes };
  assertEquals(windowSize({ room }, 1), undefined);
  assertEquals(windowSize({}, 100), undefined);
  const size = windowSize({ room }, 100)!;
  const asked = new Asked(100);
  const window = new Window(asked, size, () => Promise.resolve());
  await window.take(delivery(100, performance.now() - 3_600_000));
  await window.take(delivery(100));
  assertEquals(asked.limits, []);
  window.take(delivery(100_000));
  assertEquals(asked.limits, [10]);
  for (let i = 0; i < 1_000; i++) window.take(delivery(100));
  assertEquals(asked.prefetch, 100);
});

Deno.test("what is acknowledged early takes no more memory than there is", async () => {
  const told: string[] = [];
  const consumer = {
    hold: () => Promise.resolve(void told.push("hold")),
    resume: () => void told.push("resume"),
  };
  const ends: (() => void)[] = [];
  const run = () => new Promise<void>((resolve) => ends.push(resolve));
  const intake = new EarlyIntake(consumer, 10, run, 1_000);
  const first = intake.take(delivery(600));
  assertEquals(told, []);
  const second = intake.take(delivery(600));
  assertEquals(told, ["hold"]);
  ends[0]!();
  await first;
  assertEquals(told, ["hold", "resume"]);
  ends[1]!();
  await second;
});
