import { assertEquals } from "@std/assert";
import type { Delivery } from "../../src/amqp/consumption.ts";
import { EarlyIntake } from "../../src/worker/early_intake.ts";
import { TaskRoom } from "../../src/worker/task_room.ts";
import { Window, windowSize } from "../../src/worker/window.ts";

/** What a window asks of its consumer. */
class Asked {
  readonly limits: number[] = [];
  readonly readings: boolean[] = [];
  isHeld = false;
  #prefetch: number;

  constructor(prefetch = 1) {
    this.#prefetch = prefetch;
  }

  hold(): Promise<void> {
    this.isHeld = true;
    return Promise.resolve();
  }

  resume(): void {
    this.isHeld = false;
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
  return { task: { body: new Uint8Array(bytes) }, bytes, since } as unknown as Delivery;
}

const BYTES = 1024 * 1024;
const SIZE = { tasks: 256, room: TaskRoom.of(BYTES) };

Deno.test("as many tasks are in hand as their size allows, from one at the beginning", () => {
  const asked = new Asked();
  const window = new Window(asked, SIZE, () => {});
  for (let i = 0; i < 3; i++) window.take(delivery(100));
  assertEquals(asked.limits, [16, 256]);
  window.take(delivery(300_000));
  assertEquals(asked.prefetch, 3);
  // The large one is forgotten bit by bit.
  for (let i = 0; i < 1_000; i++) window.take(delivery(100));
  assertEquals(asked.prefetch, 256);
});

Deno.test("more than there is room for is left unread until there is", () => {
  const asked = new Asked();
  const ends: (() => void)[] = [];
  const run = (each: Delivery, onOver: (each: Delivery) => void) =>
    void ends.push(() => onOver(each));
  const window = new Window(asked, SIZE, run);
  for (const bytes of [600_000, 600_000]) window.take(delivery(bytes));
  assertEquals(asked.readings, [false]);
  // A new connection is read again unless it is told.
  window.connected();
  assertEquals(asked.readings, [false, false]);
  ends[0]!();
  assertEquals(asked.readings, [false, false, true]);
  ends[1]!();
});

Deno.test("tasks that stay for long become fewer", () => {
  const asked = new Asked();
  const window = new Window(asked, SIZE, (each, onOver) => onOver(each));
  for (let i = 0; i < 3; i++) window.take(delivery(100));
  assertEquals(asked.prefetch, 256);
  window.take(delivery(100, performance.now() - 61_000));
  window.take(delivery(100));
  assertEquals(asked.prefetch, 128);
});

Deno.test("where memory has a limit all are asked for at once, until large ones come", () => {
  const room = TaskRoom.of(BYTES);
  assertEquals(windowSize({ room }, 1), undefined);
  assertEquals(windowSize({}, 100), undefined);
  const size = windowSize({ room }, 100)!;
  const asked = new Asked(100);
  const window = new Window(asked, size, (each, onOver) => onOver(each));
  window.take(delivery(100, performance.now() - 3_600_000));
  window.take(delivery(100));
  assertEquals(asked.limits, []);
  window.take(delivery(100_000));
  assertEquals(asked.limits, [10]);
  for (let i = 0; i < 1_000; i++) window.take(delivery(100));
  assertEquals(asked.prefetch, 100);
});

Deno.test("while large tasks that stay long take the memory, none is sent, on the next connection, too", () => {
  const asked = new Asked(100);
  const ends: (() => void)[] = [];
  const run = (each: Delivery, onOver: (each: Delivery) => void) =>
    void ends.push(() => onOver(each));
  const window = new Window(asked, windowSize({ room: TaskRoom.of(BYTES) }, 100)!, run);
  for (let n = 0; n < 4; n++) window.take(delivery(300_000));
  assertEquals([asked.isHeld, asked.readings, asked.prefetch], [true, [false], 3]);
  // Nothing comes on it, so that it may be read.
  window.connected();
  assertEquals([asked.isHeld, asked.readings], [true, [false]]);
  for (const n of [0, 1]) ends[n]!();
  // Beside those in hand one is asked for, at least.
  assertEquals([asked.isHeld, asked.readings, asked.prefetch], [false, [false], 1]);
  for (const n of [2, 3]) ends[n]!();
  window.take(delivery(300_000));
  assertEquals([asked.isHeld, asked.prefetch], [false, 2]);
});

Deno.test("what is acknowledged early takes no more memory than there is", async () => {
  const told: string[] = [];
  const consumer = {
    hold: () => Promise.resolve(void told.push("hold")),
    resume: () => void told.push("resume"),
  };
  const ends: (() => void)[] = [];
  const run = () => new Promise<void>((resolve) => ends.push(resolve));
  const intake = new EarlyIntake(consumer, 10, run, TaskRoom.of(1_000));
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

Deno.test("how much memory there is is asked when it matters, and nothing is read until it is known", async () => {
  const found = Promise.withResolvers<number>();
  let asked = 0;
  const room = new TaskRoom(() => (asked++, found.promise));
  const consumer = new Asked(10);
  const window = new Window(consumer, windowSize({ room }, 10)!, () => new Promise(() => {}));
  window.take(delivery(1_000));
  assertEquals([asked, room.single], [0, Infinity]);
  window.take(delivery(2 * BYTES));
  assertEquals([asked, consumer.readings], [1, [false]]);
  found.resolve(3 * BYTES);
  await found.promise;
  assertEquals([asked, room.single, consumer.readings], [1, 3 * BYTES, [false, true]]);
  window.take(delivery(2 * BYTES));
  assertEquals([asked, consumer.readings], [1, [false, true, false]]);
});
