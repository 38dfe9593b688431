/** Looks at all queues each second: how fast they move, how deep they were, how long tasks wait. */

import type { Inside } from "./inside.ts";
import { inSlices, type Pieces, QUEUES_AT_ONCE } from "./slices.ts";
import type { Lane } from "../queue/lane.ts";
import { firstOf } from "../queue/looking.ts";
import type { Queue } from "../queue/queue.ts";
import type { History, Rates } from "../../observe/board.ts";
import { roleOf } from "../../task/topology.ts";

const SAMPLE_MS = 1_000;

/** Samples that rates are made of. */
const RATE_SAMPLES = 5;

/** Samples of the past that are kept, and one of how many is; five minutes together. */
const KEPT_SAMPLES = 150;
const KEPT_EVERY = 2;

/** Samples that a point of a trend stands for, and the points. */
const TREND_SAMPLES = 5;
const TREND_POINTS = 30;

/** Queues of which the past is kept. */
const MOST_WITH_PAST = 2_000;

/** Marks of a lane: with more, every second one is forgotten. */
const MOST_MARKS = 64;

interface Counts {
  at: number;
  readonly in: number;
  readonly out: number;
  readonly acked: number;
}

/** Where a lane ended at some time: all messages before that had come by then. */
interface Mark {
  readonly next: number;
  readonly at: number;
}

/** One value for each sample, the oldest is overwritten. */
class Ring {
  readonly #values = new Float32Array(KEPT_SAMPLES);
  #count = 0;

  push(value: number): void {
    this.#values[this.#count++ % KEPT_SAMPLES] = value;
  }

  /** The last value of each of the last so many groups of samples; the newest group may be growing. */
  groups(size: number, most: number): number[] {
    const first = this.#count - this.values().length;
    const values: number[] = [];
    for (let index = first; index < this.#count; index++) {
      const isLast = index % size === size - 1 || index === this.#count - 1;
      if (isLast) values.push(this.#values[index % KEPT_SAMPLES]!);
    }
    return values.slice(-most);
  }

  values(): number[] {
    if (this.#count <= KEPT_SAMPLES) return [...this.#values.subarray(0, this.#count)];
    const first = this.#count % KEPT_SAMPLES;
    return [...this.#values.subarray(first), ...this.#values.subarray(0, first)];
  }
}

class Past {
  readonly ready = new Ring();
  readonly in = new Ring();
  readonly out = new Ring();
}

/** What is remembered of a queue. */
interface Memory {
  readonly counts: Counts[];
  past: Past | undefined;
  readonly marks: Map<number, Mark[]>;
}

const STILL: Rates = { in: 0, out: 0, acked: 0 };

export class Sampler {
  readonly #inside: Inside;
  readonly #memories = new Map<Queue, Memory>();
  readonly #all = new Past();
  #total = STILL;
  readonly #times: number[] = [];
  readonly #started = Date.now();
  /** When the look before this one began. */
  #before = this.#started;
  readonly #onSample: () => void;
  #withPast = 0;
  #samples = 0;
  #busy = false;
  #timer: ReturnType<typeof setInterval>;

  /** @param onSample told after each look */
  constructor(inside: Inside, onSample: () => void) {
    this.#inside = inside;
    this.#onSample = onSample;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  #sample(): void {
    if (this.#busy) return;
    this.#busy = true;
    inSlices(this.#inside.scheduler, this.#look()).catch(this.#inside.onFault).finally(() => {
      this.#busy = false;
      this.#onSample();
    });
  }

  *#look(): Pieces<void> {
    const keeps = this.#samples++ % KEPT_EVERY === 0;
    const at = Date.now();
    if (keeps) {
      this.#times.push(at);
      if (this.#times.length > KEPT_SAMPLES) this.#times.shift();
    }
    let count = 0;
    let ready = 0;
    const total = { in: 0, out: 0, acked: 0 };
    for (const vhost of this.#inside.vhosts.values()) {
      for (const queue of vhost.queues) {
        this.#note(queue, at, keeps);
        if (isWork(queue)) {
          const rates = this.rates(queue);
          ready += queue.readyCount;
          total.in += rates.in;
          total.out += rates.out;
          total.acked += rates.acked;
        }
        if (++count % QUEUES_AT_ONCE === 0) yield;
      }
    }
    this.#total = total;
    if (keeps) {
      this.#all.ready.push(ready);
      this.#all.in.push(total.in);
      this.#all.out.push(total.out);
    }
    this.#before = at;
    for (const [queue, { past }] of this.#memories) {
      if (++count % QUEUES_AT_ONCE === 0) yield;
      if (!queue.deleted) continue;
      this.#memories.delete(queue);
      if (past !== undefined) this.#withPast--;
    }
  }

  #note(queue: Queue, at: number, keeps: boolean): void {
    const { published, delivered, acked } = queue.flow;
    let memory = this.#memories.get(queue);
    if (memory === undefined) {
      if (published + delivered + queue.readyCount === 0) return;
      // What it has had came since the last look, which saw nothing or no such queue.
      const counts = [{ at: this.#before, in: 0, out: 0, acked: 0 }];
      this.#memories.set(queue, memory = { counts, past: undefined, marks: new Map() });
    }
    const [first] = memory.counts;
    if (first?.in === published && first.out === delivered && first.acked === acked) {
      // Nothing has come or gone since: of very many queues that is what most are like.
      memory.counts.length = 1;
      first.at = at;
    } else memory.counts.push({ at, in: published, out: delivered, acked });
    if (memory.counts.length > RATE_SAMPLES + 1) memory.counts.shift();
    for (const lane of queue.messages.lanes) mark(memory.marks, lane, at);
    if (!keeps) return;
    if (memory.past === undefined) {
      if (this.#withPast === MOST_WITH_PAST) return;
      this.#withPast++;
      memory.past = new Past();
    }
    const rates = ratesOf(memory.counts);
    memory.past.ready.push(queue.readyCount);
    memory.past.in.push(rates.in);
    memory.past.out.push(rates.out);
  }

  rates(queue: Queue): Rates {
    const memory = this.#memories.get(queue);
    return memory === undefined ? STILL : ratesOf(memory.counts);
  }

  /** Of all work queues together, at the last look. */
  total(): Rates {
    return this.#total;
  }

  /** How deep the queue was, roughly, over the last minutes. */
  trend(queue: Queue): readonly number[] | undefined {
    const past = this.#memories.get(queue)?.past;
    return past?.ready.groups(TREND_SAMPLES, TREND_POINTS);
  }

  /** Of a queue, or of all work queues together. */
  history(queue?: Queue): History {
    const past = queue === undefined ? this.#all : this.#memories.get(queue)?.past;
    const ready = past?.ready.values() ?? [];
    return {
      at: ready.length === 0 ? [] : this.#times.slice(-ready.length),
      ready,
      in: past?.in.values() ?? [],
      out: past?.out.values() ?? [],
    };
  }

  /** Since when the message that is served first waits at least; undefined: it has just come. */
  oldestAt(queue: Queue): number | undefined {
    const marks = this.#memories.get(queue)?.marks;
    const times = queue.messages.lanes.flatMap((lane) => {
      const first = firstOf(lane.view);
      const mark = marks?.get(lane.priority)?.find(({ next }) => next > first);
      return mark === undefined ? [] : [mark.at];
    });
    return times.length === 0 ? undefined : Math.min(...times);
  }

  get uptimeMs(): number {
    return Date.now() - this.#started;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

/** Delayed and dead tasks are neither work that waits nor work that comes. */
function isWork({ name }: Queue): boolean {
  return roleOf(name).kind === "work";
}

function mark(all: Map<number, Mark[]>, lane: Lane, at: number): void {
  const { view } = lane;
  const [first, next] = [firstOf(view), view.next];
  let marks = all.get(lane.priority);
  if (marks === undefined) all.set(lane.priority, marks = []);
  while (marks.length > 0 && marks[0]!.next <= first) marks.shift();
  if ((marks.at(-1)?.next ?? 0) < next) marks.push({ next, at });
  if (marks.length <= MOST_MARKS) return;
  all.set(lane.priority, marks.filter((_, index) => index % 2 === 1));
}

function ratesOf(counts: readonly Counts[]): Rates {
  const [first, last] = [counts[0], counts.at(-1)];
  const seconds = first === undefined ? 0 : (last!.at - first.at) / 1_000;
  if (seconds === 0) return STILL;
  return {
    in: (last!.in - first!.in) / seconds,
    out: (last!.out - first!.out) / seconds,
    acked: (last!.acked - first!.acked) / seconds,
  };
}
