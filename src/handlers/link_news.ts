/** Says once that a link went, and once that it is back, however often it does so in between. */
import type { Logger } from "../observe/log.ts";
import { formatDuration } from "../task/duration.ts";
import { deadline } from "../time/deadline.ts";
import { after, pause, type Timer } from "../time/timer.ts";

/** A link that stays for so long is back, in milliseconds. */
const STEADY_MS = 2_000;
/** How long a broker may take to say how much waits, and how often it is asked, in milliseconds. */
const COUNT_MS = 2_000;
const ASK_MS = 200;

export interface LinkNewsOptions {
  readonly log: Logger;
  /** Where it leads, for people. */
  readonly target: string;
  /** Tasks that wait here; undefined: nobody knows. */
  readonly waiting: () => Promise<number | undefined>;
  /** After so long without it the program ends, in milliseconds; undefined: never. */
  readonly endsAfter: number | undefined;
}

export class LinkNews {
  readonly #options: LinkNewsOptions;
  /** performance.now() of the end that was told; undefined: none was. */
  #wentAt: number | undefined;
  #steady: Timer | undefined;
  /** Says that it is back, if that is still to be said. */
  #tellBack: () => void = () => {};

  constructor(options: LinkNewsOptions) {
    this.#options = options;
  }

  async went(why: string): Promise<void> {
    const { log, target, endsAfter } = this.#options;
    this.#steady?.cancel();
    this.#tellBack = () => {};
    if (this.#wentAt !== undefined) return;
    this.#wentAt = performance.now();
    const trying = `trying for ${endsAfter === undefined ? "ever" : formatDuration(endsAfter)}`;
    log.warn(`nothing can be sent to ${target}: ${why}; ${trying}, ${await this.#count()}`);
  }

  /** It may go again soon: then nothing has happened. Resolves when it is known how much waits. */
  async back(): Promise<void> {
    if (this.#wentAt === undefined) return;
    const { log, target } = this.#options;
    const count = this.#count();
    this.#steady?.cancel();
    this.#tellBack = () => {
      this.#tellBack = () => {};
      const lasted = formatDuration(performance.now() - this.#wentAt!);
      this.#wentAt = undefined;
      count.then((count) => log.info(`${target} takes tasks again after ${lasted}: ${count}`));
    };
    this.#steady = after(STEADY_MS, () => this.#tellBack());
    await count;
  }

  /** Nothing follows. */
  end(): void {
    this.#steady?.cancel();
    this.#tellBack();
  }

  async #count(): Promise<string> {
    const until = performance.now() + COUNT_MS;
    const ask = () =>
      deadline(this.#options.waiting(), COUNT_MS, () => new Error("late")).catch(() => undefined);
    let count = await ask();
    // At the start neither of the two links may be there.
    while (count === undefined && performance.now() < until) {
      await pause(ASK_MS);
      count = await ask();
    }
    return count === undefined
      ? "what waits here stays"
      : `${count} ${count === 1 ? "task waits" : "tasks wait"} here`;
  }
}
