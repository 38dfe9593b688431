/**
 * Remembers finished tasks of which the broker may not have heard: their channel had died before the
 * acknowledgement, or died right after it. The broker delivers them again. One that comes back to
 * this worker is not run again: what was decided the first time is carried out.
 */
import { idBytes } from "../amqp/client/received_properties.ts";
import { HEADER } from "../task/headers.ts";
import type { Decision } from "../task/retry.ts";
import { hasId, type Task } from "../task/task.ts";
import { turnTime } from "../time/turn_time.ts";

const KEPT_MS = 3_600_000;
const MOST = 10_000;
/** What answers may take that are kept with them, in bytes. */
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;
/** Acknowledgements that may have been under way when a connection was lost, for most workers. */
const MOST_ACKED = 256;
/**
 * How long before its channel was found dead an acknowledgement may have been sent and not have
 * arrived, in milliseconds: a silent connection is given up after its heartbeat time.
 */
const UNDER_WAY_MS = 60_000;
/**
 * What tasks may take together that are kept for the case that an acknowledgement is lost, the latest
 * ones, and the body of a single one; in bytes. Larger bodies are freed at once (free_body.ts).
 */
const MOST_ACKED_BYTES = 16 * 1024 * 1024;
export const LARGE_BYTES = 64 * 1024;

interface Finished {
  readonly decision: Decision;
  /** When it was remembered, in milliseconds. */
  readonly since: number;
}

export class FinishedTasks {
  /** By fingerprint, oldest first. */
  readonly #tasks = new Map<string, Finished>();
  /** The last ones that were acknowledged; a ring. Undefined: used. */
  readonly #acked: (Task | undefined)[] = [];
  /** Of each: aborts when the channel ends on which it was acknowledged. */
  readonly #ackedOn: AbortSignal[] = [];
  /** Of each: when, in milliseconds. */
  readonly #ackedAt: number[] = [];
  #nextAcked = 0;
  /** Bytes of each, and of all. */
  readonly #ackedBytes: number[] = [];
  #allAckedBytes = 0;
  /** Those from here on are kept. */
  #oldestAcked = 0;
  /** Of the answers that are kept. */
  #answerBytes = 0;
  readonly #mostAcked: number;
  readonly #now: () => number;

  /**
   * @param now the time in milliseconds; default {@linkcode turnTime}
   * @param mostAcked acknowledgements that may be under way
   */
  constructor(now: () => number = turnTime, mostAcked = MOST_ACKED) {
    this.#now = now;
    this.#mostAcked = mostAcked;
  }

  /** Tasks without an id cannot be recognised and are not kept. */
  remember(task: Task, decision: Decision): void {
    if (task.id === "") return;
    this.#forgetOld();
    const key = fingerprint(task);
    this.#delete(key);
    const kept = this.#kept(decision);
    this.#answerBytes += answerBytes(kept);
    this.#tasks.set(key, { decision: kept, since: this.#now() });
  }

  /** An answer for which there is no room is left out, and said to be. */
  #kept(decision: Decision): Decision {
    if (this.#answerBytes + answerBytes(decision) <= MOST_ANSWER_BYTES) return decision;
    return { kind: "ack", answer: { body: new Uint8Array(), cut: true } };
  }

  #delete(key: string): Decision | undefined {
    const decision = this.#tasks.get(key)?.decision;
    this.#tasks.delete(key);
    if (decision !== undefined) this.#answerBytes -= answerBytes(decision);
    return decision;
  }

  /**
   * The task was acknowledged; if its channel ends now, the broker may never hear of it.
   *
   * @param bytes of body and properties
   */
  acknowledged(
    task: Task,
    lost: AbortSignal,
    bodyBytes = task.body.length,
    bytes = bodyBytes,
  ): void {
    if (!hasId(task) || bodyBytes > LARGE_BYTES) return;
    const place = this.#nextAcked;
    this.#nextAcked = (place + 1) % this.#mostAcked;
    if (this.#ackedBytes[place] !== undefined && place === this.#oldestAcked) this.#forgetOldest();
    this.#acked[place] = task;
    this.#ackedOn[place] = lost;
    this.#ackedAt[place] = this.#now();
    this.#ackedBytes[place] = bytes;
    this.#allAckedBytes += bytes;
    while (this.#allAckedBytes > MOST_ACKED_BYTES) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const place = this.#oldestAcked;
    this.#oldestAcked = (place + 1) % this.#mostAcked;
    this.#acked[place] = undefined;
    this.#allAckedBytes -= this.#ackedBytes[place]!;
    this.#ackedBytes[place] = 0;
  }

  /** Whether this very task is kept, to tell by its body whether one that comes is the same. */
  keeps(task: Task): boolean {
    return this.#acked.includes(task);
  }

  /**
   * The task was delivered, and comes back without having been settled. So nothing says that one
   * like it, which was acknowledged, is the one that comes.
   */
  comesBack(task: Task): void {
    for (const [index, acked] of this.#acked.entries()) {
      if (acked !== undefined && isSameTask(acked, task)) this.#acked[index] = undefined;
    }
  }

  /**
   * A channel was lost just now. What was acknowledged on it long before has arrived: a task that
   * looks like it is another one, and has to be done.
   */
  channelLost(): void {
    const arrived = this.#now() - UNDER_WAY_MS;
    for (const [index, lost] of this.#ackedOn.entries()) {
      if (lost.aborted && this.#ackedAt[index]! < arrived) this.#acked[index] = undefined;
    }
  }

  /** What was decided about a task that has come back, once. */
  take(task: Task): Decision | undefined {
    if (!task.redelivered || task.id === "") return undefined;
    if (this.#takeAcknowledged(task)) return { kind: "ack", answered: true };
    if (this.#tasks.size === 0) return undefined;
    this.#forgetOld();
    return this.#delete(fingerprint(task));
  }

  /** Of tasks that a producer sends again and again, all alike, nobody knows which one came back. */
  #takeAcknowledged(task: Task): boolean {
    const oldest = this.#now() - KEPT_MS;
    const alike = this.#acked.flatMap((acked, index) =>
      acked !== undefined && this.#ackedAt[index]! > oldest && isSameTask(acked, task)
        ? [index]
        : []
    );
    const [only, another] = alike;
    if (only === undefined || another !== undefined) return false;
    if (!this.#ackedOn[only]!.aborted) return false;
    this.#acked[only] = undefined;
    return true;
  }

  #forgetOld(): void {
    const oldest = this.#now() - KEPT_MS;
    for (const [key, { since }] of this.#tasks) {
      if (since > oldest && this.#tasks.size <= MOST) return;
      this.#delete(key);
    }
  }
}

function answerBytes(decision: Decision): number {
  return decision.kind === "ack" ? decision.answer?.body.length ?? 0 : 0;
}

/** Whether two deliveries are of one and the same task; of one without an id nobody can tell. */
export function isSameTask(one: Task, other: Task): boolean {
  return one.id !== "" && one.id === other.id && fingerprint(one) === fingerprint(other);
}

/**
 * Tells tasks apart even where a producer gives all of them one id: a wrong match would
 * acknowledge a task that never ran.
 */
export function fingerprint(task: Task): string {
  const { properties, body } = task;
  let hash = 0x811c9dc5;
  for (const byte of body) hash = Math.imul(hash ^ byte, 0x01000193);
  return JSON.stringify([
    task.queue,
    task.id,
    // Two that are not UTF-8 may look alike.
    task.id.includes("\ufffd") ? String(idBytes(task)) : "",
    String(properties.headers?.[HEADER.hops] ?? 0),
    String(properties.headers?.[HEADER.attempt] ?? 0),
    properties.timestamp?.getTime() ?? 0,
    body.length,
    hash >>> 0,
  ]);
}
