/** Dead letters: where a message goes that its queue gives up. */

import type { Content } from "../message/content.ts";
import { type DeadLetter, letterOf, rewrite, type Rewritten } from "./dead_letter.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import type { DeadCount } from "../store/messages/dead_messages.ts";
import { cycleOf, type DeathReason } from "../message/deaths.ts";
import { KeptLetters } from "./kept_letters.ts";
import { LetterTime } from "./letter_time.ts";
import type { LaneRecord, Message } from "../message/message.ts";
import type { Limits } from "../net/limits.ts";
import type { Queue } from "../queue/queue.ts";
import type { Scheduler, Slice, Work } from "../../time/scheduler.ts";
import type { Store } from "../store/store.ts";
import type { VirtualHost } from "./virtual_host.ts";
import { Way } from "./way.ts";

/** Milliseconds after which a letter is tried again that the store has refused. */
const RETRY_MS = 1_000;

/** How often the pause doubles of a letter that the store refuses. */
const MOST_DOUBLED = 10;

/** Queues that take a letter in one go. Where there are more it goes on after what that has caused. */
const PIECE = 256;

/** Letters that were sent and are still held: while more keep coming, none of a level is the last. */
const MOST_SENT = 1_000;

/** Letters that may wait, of all queues together, before those who cause more are held back. */
const MOST_WAITING = 10_000;

/** What dead letters use and whom they tell. */
export interface DeadLetterHost {
  readonly deadlines: Deadlines;
  readonly scheduler: Scheduler;
  /** Asks for a turn of the event loop that calls {@link DeadLetters.work}. */
  schedule(): void;
  readonly store: Pick<Store, "dead" | "actFor">;
  readonly limits: Pick<Limits, "keptLetters">;
  /** A letter cannot be made. */
  onFault(error: unknown): void;
}

/** Whether a letter is in a queue, and in all that it belongs in; or in some, and has to go on. */
type Taken =
  | "by all"
  | "by some"
  /** Not by all; others with this address, if there is one, have nowhere to go either. */
  | { readonly address: string | undefined };

interface Level {
  letters: DeadLetter[];
  /** Index of the first one that is not sent. */
  next: number;
}

/**
 * The letters that wait. What dies of sending one is sent before the next: so those that wait are
 * few, even where each death causes ten others, and come in the order of their deaths.
 */
export class DeadLetters implements Work {
  readonly #vhosts: Map<string, VirtualHost>;
  readonly #host: DeadLetterHost;
  /** What died of its own, and what died of the letters sent before; the last is the next. */
  #levels: Level[] = [{ letters: [], next: 0 }];
  /** How many wait, those that are kept not counted. */
  #waiting = 0;
  /** What the letter that is being sent has caused. */
  #caused: DeadLetter[] | undefined;
  /** At-least-once letters that had nowhere to go. */
  readonly #kept: KeptLetters;
  readonly #time: LetterTime;
  /** The one of them that has come to some of its queues. */
  #underWay: DeadLetter | undefined;
  /** Those that are kept and the others go in turn. */
  #isTurnOfKept = false;

  constructor(vhosts: Map<string, VirtualHost>, host: DeadLetterHost) {
    this.#vhosts = vhosts;
    this.#host = host;
    this.#kept = new KeptLetters(host);
    this.#time = new LetterTime(host.scheduler, this);
  }

  /** So many letters wait that no more should be caused. */
  get isCrowded(): boolean {
    return this.#waiting >= MOST_WAITING;
  }

  /** Letters in memory: those that wait to be sent, and those that were sent before them. */
  get count(): number {
    return this.#levels.reduce((sum, { letters }) => sum + letters.length, 0);
  }

  /** At-least-once letters that wait for a queue to go to. */
  get kept(): Pick<KeptLetters, "count" | "countHere"> {
    return this.#kept;
  }

  add(queue: Queue, message: Message, reason: DeathReason): void {
    if (queue.arguments.deadLetterAtLeastOnce && this.#kept.takeOver(queue, message, reason)) {
      return;
    }
    queue.dying++;
    this.#waiting++;
    this.#push(letterOf(queue, message, reason));
  }

  /** Those that had nowhere to go before the restart. */
  restore(queue: Queue, lane: LaneRecord, dead: DeadCount): void {
    this.#kept.restore(queue, lane, dead);
  }

  #push(letter: DeadLetter): void {
    if (this.#caused !== undefined) return void this.#caused.push(letter);
    this.#levels[0]!.letters.push(letter);
    this.#host.schedule();
  }

  get isEmpty(): boolean {
    return this.#levels.length === 1 && this.#levels[0]!.letters.length === 0 &&
      !this.#kept.isTrying;
  }

  /** What they may still need is about to go: sends them now, as far as there is time. */
  hurry(): void {
    this.#time.give();
  }

  /** Publishes what died so far, and what dies of that. */
  work(slice: Slice): boolean {
    for (;;) {
      const letter = this.#next();
      if (letter === undefined) return false;
      const isKept = this.#kept.has(letter);
      const caused: DeadLetter[] = this.#caused = [];
      let isDone = true;
      try {
        isDone = this.#send(letter, slice);
      } catch (error) {
        // Its message stays stored.
        this.#host.onFault(error);
      }
      this.#caused = undefined;
      this.#tried(letter, isKept, isDone);
      if (caused.length > 0) this.#levels.push({ letters: caused, next: 0 });
      if (slice.isOver) return !this.isEmpty;
    }
  }

  #tried(letter: DeadLetter, isKept: boolean, isDone: boolean): void {
    if (isKept) this.#underWay = isDone ? undefined : letter;
    else if (isDone) {
      this.#waiting--;
      letter.queue.dying--;
      letter.queue.sentLetters++;
    } else this.#levels.at(-1)!.next--;
  }

  #next(): DeadLetter | undefined {
    for (;;) {
      const level = this.#levels.at(-1)!;
      const isLast = this.#levels.length === 1;
      if (isLast && (this.#isTurnOfKept = !this.#isTurnOfKept)) {
        const kept = this.#underWay ?? this.#kept.next();
        if (kept !== undefined) return kept;
      }
      if (level.next >= MOST_SENT) {
        level.letters = level.letters.slice(level.next);
        level.next = 0;
      }
      const letter = level.letters[level.next++];
      if (letter !== undefined) return letter;
      level.letters = [];
      level.next = 0;
      if (isLast) return this.#underWay ?? this.#kept.next();
      this.#levels.pop();
    }
  }

  /** @returns whether it is done; else there are more queues to have it */
  #send(letter: DeadLetter, slice: Slice): boolean {
    const { queue, message } = letter;
    const content = queue.contentOf(message);
    if (content !== undefined) {
      const isStored = message.content === null;
      const taken = this.#publish(letter, content, slice);
      // It was read for this letter, and can be read again.
      if (isStored) content.giveUp();
      if (taken === "by some") return false;
      letter.way = undefined;
      if (taken !== "by all" && !queue.deleted) {
        if (letter.unstoredBy !== undefined) {
          this.#keepUnstored(letter);
          return true;
        }
        if (queue.arguments.deadLetterAtLeastOnce) {
          this.#kept.keep(letter, taken.address);
          return true;
        }
      }
    } else if (!queue.deleted) {
      if (this.#kept.has(letter)) this.#kept.keep(letter, undefined);
      else queue.setAside(message);
      return true;
    }
    letter.isBuried = true;
    this.#kept.remove(letter);
    if (wasNeverQueued(message)) message.done();
    queue.bury(message);
    return true;
  }

  /** The store refuses a copy of it. */
  #keepUnstored(letter: DeadLetter): void {
    const { queue, message, reason } = letter;
    this.#kept.remove(letter);
    this.#kept.note(message, reason);
    queue.keptLetters++;
    queue.release(message);
    const pause = RETRY_MS * 2 ** Math.min(letter.unstored++, MOST_DOUBLED);
    this.#host.deadlines.after(pause, () => this.#tryAgain(letter));
  }

  #tryAgain(letter: DeadLetter): void {
    letter.unstoredBy = undefined;
    letter.queue.keptLetters--;
    letter.queue.dying++;
    this.#waiting++;
    this.#push(letter);
  }

  /** The store has refused the copy of a queue, and has kept the source. */
  #unstored(letter: DeadLetter, target: Queue): void {
    letter.takenBy?.delete(target);
    (letter.unstoredBy ??= new Set()).add(target);
    if (!letter.isBuried || wasNeverQueued(letter.message)) return;
    letter.isBuried = false;
    if (!letter.queue.deleted) this.#keepUnstored(letter);
  }

  #publish(letter: DeadLetter, content: Content, slice: Slice): Taken {
    const { queue } = letter;
    const { deadLetterAtLeastOnce, deadLetterExchange: name } = queue.arguments;
    const vhost = this.#vhosts.get(queue.vhost)!;
    const exchange = vhost.findExchange(name!);
    const mayWait = deadLetterAtLeastOnce && this.#kept.count > 0 && !queue.deleted;
    const addressOf = (...keys: string[]) => JSON.stringify([queue.vhost, name, ...keys]);
    if (exchange === undefined || (mayWait && this.#kept.mustWait(letter, addressOf()))) {
      return { address: addressOf() };
    }
    const rewritten = rewrite(letter, content);
    const { keys } = rewritten;
    const { content: letterContent } = rewritten.publication;
    try {
      if (mayWait && letter.way === undefined && this.#kept.mustWait(letter, addressOf(...keys))) {
        return { address: addressOf(...keys) };
      }
      const way = letter.way ??= new Way(vhost, exchange, keys, () => rewritten.headers);
      if (way.work(slice)) return "by some";
      const isShared = way.queues.size > 1;
      if (isShared) letterContent.share();
      const taken = this.#give(letter, way, rewritten, content);
      if (isShared) letterContent.giveUp();
      if (taken !== "not by all") return taken;
      return { address: way.isParticular ? undefined : addressOf(...keys) };
    } finally {
      letterContent.notTaken();
    }
  }

  /** Gives it to queues. */
  #give(
    letter: DeadLetter,
    way: Way,
    { publication, deaths }: Rewritten,
    content: Content,
  ): "by all" | "by some" | "not by all" {
    const targets = way.queues;
    const cycle = cycleOf(deaths);
    const takenBy = letter.takenBy ?? new Set();
    const most = takenBy.size + PIECE;
    for (const target of targets) {
      if (takenBy.size >= most) return "by some";
      // Since it was found.
      if (target.deleted) targets.delete(target);
      else if (cycle.has(target.name)) {
        // A cycle that no consumer took part in would never end.
        targets.delete(target);
        way.isParticular = true;
      } else if (!takenBy.has(target) && letter.unstoredBy?.has(target) !== true) {
        const author = {
          source: { message: letter.message, content },
          unstored: () => this.#unstored(letter, target),
        };
        if (this.#host.store.actFor(author, () => target.publish(publication))) {
          letter.takenBy = takenBy.add(target);
        }
      }
    }
    return takenBy.size > 0 && targets.isSubsetOf(takenBy) ? "by all" : "not by all";
  }
}

/** Whether a full queue did not take it, of which its publisher is told: it is nowhere else. */
function wasNeverQueued({ position }: Message): boolean {
  return position === 0;
}
