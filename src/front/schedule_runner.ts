/**
 * Sends tasks at the times of their schedules, for as long as a program lives: each slot once, again
 * until the broker has confirmed it.
 */
import { EXIT, isPassing, reason, ToolError } from "../errors.ts";
import type { Logger } from "../observe/log.ts";
import { after, pause, type Timer } from "../time/timer.ts";
import { DEDUPLICATION_HEADER } from "../task/duplicates.ts";
import { type Defaults, outgoingOf } from "./outgoing.ts";
import { type Schedule, slotId } from "./schedule.ts";
import type { Sender } from "./sender.ts";

export interface ScheduleRunnerOptions {
  readonly sender: Sender;
  readonly defaults: Defaults;
  readonly log: Logger;
  /** The last slot that is missed is sent, of all those of a schedule. */
  readonly sendMissed: boolean;
  /** Told of a confirmed task. */
  readonly onSent: (id: string) => void;
  /** Told when `positions` has changed. */
  readonly onProgress: () => void;
}

/** A slot found so late was missed: the program did not run, or the host slept. */
const MISSED_MS = 10_000;
/** A clock set back by more is a new clock. */
const CLOCK_BACK_MS = 3 * 3_600_000;
/** So that a clock that is set, or a host that slept, is noticed before slots are missed by it. */
const LONGEST_SLEEP_MS = MISSED_MS / 2;
/** Slots of a schedule on their way; more are missed. */
const MOST_UNDER_WAY = 100;
const RETRY_MS = 1_000;

/** A schedule at work. */
interface Entry {
  readonly schedule: Schedule;
  /** The last slot that was looked at, or the time of the beginning. */
  reached: number;
  next: number | undefined;
  /** Slots that are not confirmed, in their order. */
  readonly underWay: Set<number>;
}

export class ScheduleRunner {
  readonly #options: ScheduleRunnerOptions;
  #entries = new Map<string, Entry>();
  #timer: Timer | undefined;
  #isEnding = false;
  readonly #sending = new Set<Promise<void>>();

  constructor(options: ScheduleRunnerOptions) {
    this.#options = options;
  }

  /** By schedule, up to which time all its slots are confirmed; milliseconds since 1970. */
  get positions(): Map<string, number> {
    return new Map(
      [...this.#entries].map(([key, { reached, underWay }]) => {
        const [first] = underWay;
        return [key, first === undefined ? reached : first - 1];
      }),
    );
  }

  /**
   * Replaces the schedules; those that stay go on where they are.
   *
   * @param positions where others go on; default now
   */
  use(schedules: readonly Schedule[], positions: ReadonlyMap<string, number> = new Map()): void {
    const now = Date.now();
    const before = this.#entries;
    this.#entries = new Map();
    for (const schedule of schedules) {
      const { key } = schedule;
      const { reached, underWay } = before.get(key) ??
        { reached: positions.get(key) ?? now, underWay: new Set<number>() };
      const entry = { schedule, reached, underWay, next: schedule.slots.next(reached) };
      this.#entries.set(key, entry);
    }
    this.#options.onProgress();
    this.#run();
  }

  /** Sends no more slots, and waits for those under way. @throws {ToolError} not all are confirmed */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#timer?.cancel();
    await Promise.all(this.#sending);
    const left = [...this.#entries.values()].reduce((sum, { underWay }) => sum + underWay.size, 0);
    if (left === 0) return;
    throw new ToolError(
      `ended before all was confirmed; slots that may be on the queue or not: ${left}`,
      EXIT.temporary,
    );
  }

  #run(): void {
    this.#timer?.cancel();
    if (this.#isEnding) return;
    const now = Date.now();
    let soonest = now + LONGEST_SLEEP_MS;
    for (const entry of this.#entries.values()) {
      if (entry.next !== undefined && entry.reached - now > CLOCK_BACK_MS) {
        this.#startAnew(entry, now);
      }
      this.#sendDue(entry, now);
      if (entry.next !== undefined && entry.next < soonest) soonest = entry.next;
    }
    this.#timer = after(soonest - Date.now(), () => this.#run());
  }

  #startAnew(entry: Entry, now: number): void {
    this.#options.log.warn(
      `the clock was set back, and the schedule goes on from there`,
      { schedule: entry.schedule.key },
    );
    this.#reach(entry, now);
  }

  #reach(entry: Entry, time: number): void {
    entry.reached = time;
    entry.next = entry.schedule.slots.next(time);
  }

  #sendDue(entry: Entry, now: number): void {
    const { schedule: { slots } } = entry;
    if (entry.next !== undefined && entry.next < now - MISSED_MS) {
      const missed = slots.last(entry.reached, now - MISSED_MS) ?? entry.next;
      this.#reach(entry, missed);
      this.#miss(entry, missed);
    }
    while (entry.next !== undefined && entry.next <= now) {
      const slot = entry.next;
      this.#reach(entry, slot);
      if (entry.underWay.size >= MOST_UNDER_WAY) this.#miss(entry, slot, true);
      else this.#send(entry, slot);
    }
  }

  #miss(entry: Entry, slot: number, tooMany = false): void {
    const send = this.#options.sendMissed && !tooMany;
    this.#options.log.warn(
      send ? "slots were missed, and the last one is sent now" : "slots were missed",
      { schedule: entry.schedule.key, last: new Date(slot).toISOString() },
    );
    if (send) this.#send(entry, slot);
    else this.#options.onProgress();
  }

  #send(entry: Entry, slot: number): void {
    entry.underWay.add(slot);
    const sending = this.#sendUntilConfirmed(entry, slot).finally(() => {
      this.#sending.delete(sending);
    });
    this.#sending.add(sending);
  }

  async #sendUntilConfirmed(entry: Entry, slot: number): Promise<void> {
    const { sender, defaults, log, onSent, onProgress } = this.#options;
    const { schedule: { record }, underWay } = entry;
    const id = slotId(entry.schedule, slot);
    const { messageId: _own, headers, ...others } = record.properties;
    // Which of two that send it a queue may drop.
    const properties = { ...others, headers: { [DEDUPLICATION_HEADER]: id, ...headers } };
    for (let told = "";;) {
      try {
        await sender.send(outgoingOf({ ...record, properties }, defaults, { id, now: Date.now() }));
        underWay.delete(slot);
        onSent(id);
        return onProgress();
      } catch (error) {
        const passing = error instanceof ToolError && (isPassing(error) || mayChange(error));
        if (!passing) {
          log.error(`not sent: ${reason(error)}`, { id });
          underWay.delete(slot);
          return onProgress();
        }
        if (told !== error.message) log.warn(`not confirmed yet: ${reason(error)}`, { id });
        told = error.message;
        if (this.#isEnding) return;
        await pause(RETRY_MS);
        if (this.#isEnding) return;
      }
    }
  }
}

/** Whoever changes a password, or a queue's type, may be at it. */
function mayChange({ exitCode }: ToolError): boolean {
  return exitCode === EXIT.noPermission || exitCode === EXIT.unavailable;
}
