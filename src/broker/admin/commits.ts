/** How long the commits of the store take. */

import { Durations, type Metric } from "../../observe/metrics.ts";
import type { Overview } from "../../observe/board.ts";

/** Upper bounds in seconds: from a disk with a battery to one that is broken. */
const BOUNDS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

export class Commits {
  readonly #durations = new Durations(BOUNDS_S);
  #count = 0;
  #sumMs = 0;
  #lastMs = 0;
  #slowestMs = 0;

  add(ms: number): void {
    this.#durations.add(ms / 1_000);
    this.#count++;
    this.#sumMs += ms;
    this.#lastMs = ms;
    if (ms > this.#slowestMs) this.#slowestMs = ms;
  }

  describe(): NonNullable<Overview["commits"]> {
    return {
      count: this.#count,
      meanMs: this.#count === 0 ? 0 : this.#sumMs / this.#count,
      lastMs: this.#lastMs,
      slowestMs: this.#slowestMs,
    };
  }

  metric(): Metric {
    return this.#durations.metric(
      "workqueue_broker_commit_duration_seconds",
      "How long it took to write a turn's changes and sync them to disk.",
    );
  }
}
