/**
 * Decides how many tasks are here at the same time, where their memory has a limit.
 *
 * AMQP limits their number, and not their size. So the number follows the size of those that came
 * last; and when they are larger than that led to expect, nothing is read until there is room.
 *
 * Where they may stay for long, nothing is sent either: RabbitMQ ends a connection that takes nothing
 * for 30 s, and then the next one lasts.
 *
 * A worker that takes as many as it can, and has them in hand until another broker has confirmed
 * them, begins with one, and the number follows the time that they stay, too.
 */
import type { TaskRoom } from "./task_room.ts";
import type { Consumer } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";
import { turnTime } from "../time/turn_time.ts";

/** What may be here. */
export interface WindowSize {
  readonly tasks: number;
  /** Of their bodies and properties; a single one may have more. */
  readonly room: TaskRoom;
  /** All places are asked for at once, and tasks may stay as long as they like; default false. */
  readonly isPatient?: boolean;
}

/** What there may be of one queue; undefined: as many as the broker may send. */
export function windowSize(
  { ackEarly, maxTasks = Infinity, room, window }: WindowRules,
  prefetch: number,
): WindowSize | undefined {
  const tasks = Math.min(window?.tasks ?? prefetch, maxTasks);
  if (window !== undefined) return { ...window, tasks };
  // These have another intake, and a single one is always taken.
  if (ackEarly === true || room === undefined || tasks === 1) return undefined;
  return { tasks, room, isPatient: true };
}

/** So many acknowledgements may wait for each other: the rest of a window is enough to go on. */
export function gatheredOf({ tasks }: WindowSize): number {
  return Math.ceil(tasks / 8);
}

/** What a worker says of it. */
interface WindowRules {
  readonly ackEarly?: boolean;
  readonly maxTasks?: number;
  readonly room?: TaskRoom;
  readonly window?: WindowSize;
}

/** One step up, and the part by which one must be worth it. */
const STEP = 16;
const WORTH = 4;
/** The same where tasks are few and stay long. */
const PATIENT_WORTH = 2;
/** What a task takes besides its body and properties, in bytes. */
const OVERHEAD_BYTES = 1_024;
/** Large tasks count less with each smaller one that follows. */
const FADING = 0.98;
/** Tasks that stay longer than this are too many, and shorter than the other, too few; milliseconds. */
const LONG_MS = 60_000;
const SHORT_MS = 10_000;

type WindowConsumer = Pick<Consumer, "hold" | "prefetch" | "reading" | "resume">;

export class Window {
  readonly #consumer: WindowConsumer;
  readonly #size: WindowSize;
  readonly #run: (delivery: Delivery, onOver: (delivery: Delivery) => void) => void;
  readonly #onRoomKnown = () => this.#look();
  /** In hand. */
  #bytes = 0;
  /** What a task is expected to have. */
  #expected = OVERHEAD_BYTES;
  /** What the time that tasks stay allows. */
  #most: number;
  /** performance.now() from which on a task tells how long they stay now. */
  #changedAt = -Infinity;
  #paused = false;
  /** Nothing is sent. */
  #held = false;

  /**
   * @param consumer has one task sent at first, or all
   * @param run does the work, and tells its end
   */
  constructor(
    consumer: WindowConsumer,
    size: WindowSize,
    run: (delivery: Delivery, onOver: (delivery: Delivery) => void) => void,
  ) {
    this.#consumer = consumer;
    this.#size = size;
    this.#most = size.tasks;
    this.#run = run;
  }

  take(delivery: Delivery): void {
    const bytes = delivery.bytes + OVERHEAD_BYTES;
    this.#bytes += bytes;
    this.#expected = Math.max(bytes, this.#expected * FADING);
    this.#size.room.note(this.#bytes, this.#onRoomKnown);
    this.#look();
    this.#adapt();
    this.#run(delivery, this.#onOver);
  }

  readonly #onOver = ({ bytes, since }: Delivery): void => {
    this.#bytes -= bytes + OVERHEAD_BYTES;
    this.#look();
    this.#learn(since);
  };

  /** The connection is a new one. */
  connected(): void {
    this.#paused = false;
    if (!this.#held) this.#look();
  }

  #look(): void {
    const { room, isPatient } = this.#size;
    const isFull = this.#bytes > room.bytes;
    if (isFull !== this.#paused && !this.#held) this.#pause(isFull);
    if (isPatient) this.#hold(isFull && room.single < Infinity);
  }

  #pause(paused: boolean): void {
    this.#paused = paused;
    this.#consumer.reading = !paused;
  }

  #hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    if (held) {
      this.#consumer.hold(this);
      return;
    }
    if (this.#paused) this.#pause(false);
    this.#consumer.prefetch = this.#fitting(this.#size.room.single - this.#bytes);
    this.#consumer.resume(this);
  }

  #adapt(): void {
    const { isPatient, room, tasks } = this.#size;
    const now = this.#consumer.prefetch;
    // Nothing is planned with what is not known yet.
    const all = this.#fitting(room.single);
    // What is in hand stays beside what a new limit allows.
    const wanted = isPatient ? this.#fitting(room.single - this.#bytes) : all;
    const worth = isPatient ? PATIENT_WORTH : WORTH;
    if (all * 2 <= now) this.#consumer.prefetch = all;
    else if (wanted >= now * worth || (wanted > now && wanted === tasks)) {
      this.#consumer.prefetch = Math.min(wanted, now * STEP);
    }
  }

  /** How many tasks fit into so many bytes; at least one. */
  #fitting(bytes: number): number {
    return Math.max(1, Math.min(Math.floor(bytes / this.#expected), this.#most));
  }

  /** @param since when the task came, in performance.now() */
  #learn(since: number): void {
    if (this.#size.isPatient) return;
    const now = turnTime();
    if (now - since > LONG_MS && since > this.#changedAt) {
      this.#most = Math.max(1, Math.floor(this.#consumer.prefetch / 2));
      this.#changedAt = now;
    } else if (now - since < SHORT_MS && this.#most < this.#size.tasks) {
      this.#most = Math.min(this.#size.tasks, this.#most + 1);
    }
  }
}
