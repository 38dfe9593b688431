/**
 * At-least-once letters that had nowhere to go. Their messages stay stored in their queues, and are
 * noted in the table `dead`. Memory has the oldest ones of each queue; the others are only in the
 * table, and come when there is room.
 *
 * Each second they are tried again, oldest first. A letter that had nowhere to go says the same of
 * all others with its address: they are passed over, and so keep their order, and a try costs little
 * however many they are. Of those with other addresses some are tried; the others come in the next
 * second.
 */

import type { DeathReason } from "../message/deaths.ts";
import type { LaneRecord, Message } from "../message/message.ts";
import type { Limits } from "../net/limits.ts";
import type { DeadCount, DeadMessages, Place } from "../store/messages/dead_messages.ts";
import { LAST_POSITION } from "../store/file/message_row.ts";
import type { Queue } from "../queue/queue.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import { type DeadLetter, letterOf } from "./dead_letter.ts";

/** Milliseconds until they are tried again. */
const RETRY_MS = 1_000;

/** Letters that may be tried in vain until then. */
const MOST_FAILURES = 500;

/** Letters of a queue that memory has although those of others fill it. */
const FEWEST = 16;

/** Letters that are read at once. */
const BATCH = 256;

/** Longest address that is remembered: memory holds many. */
const LONGEST_ADDRESS = 512;

export interface KeptLettersHost {
  readonly deadlines: Deadlines;
  /** Asks for a turn of the event loop in which the letters are tried. */
  schedule(): void;
  readonly store: { readonly dead: DeadMessages };
  readonly limits: Pick<Limits, "keptLetters">;
}

/** What is kept of a lane. */
interface Backlog {
  readonly queue: Queue;
  /** In memory. */
  here: number;
  /** Those among them that came from the table and were not tried since. */
  readonly untried: Set<DeadLetter>;
  /** In the table alone, behind `place`. */
  paged: number;
  place: Place;
  /** The death of all that {@link KeptLetters.note} puts before `place`. */
  start: number;
}

/** Where letters go that have the same keys. */
interface Address {
  readonly name: string;
  /** Letters of it that are in memory. */
  waiting: number;
  /** Some queues of it have taken letters that others have refused. */
  isPartial: boolean;
  /** The number of the pass in which it took none. */
  failedIn: number;
}

export class KeptLetters {
  readonly #host: KeptLettersHost;
  /** Those in memory, oldest first, and where each was to go. */
  readonly #here = new Map<DeadLetter, Address | undefined>();
  readonly #lanes = new Map<LaneRecord, Backlog>();
  readonly #addresses = new Map<string, Address>();
  #paged = 0;
  #isArmed = false;
  #pass = 0;
  /** The letters that are still to be tried in this pass, and the lanes that more may come from. */
  #letters: Iterator<DeadLetter> | undefined;
  #sources: Iterator<[LaneRecord, Backlog]> | undefined;
  #source: [LaneRecord, Backlog] | undefined;
  #failures = 0;
  #isTrying = false;

  constructor(host: KeptLettersHost) {
    this.#host = host;
  }

  get count(): number {
    return this.#here.size + this.#paged;
  }

  /** How many are in memory. */
  get countHere(): number {
    return this.#here.size;
  }

  has(letter: DeadLetter): boolean {
    return this.#here.has(letter);
  }

  #backlogOf(queue: Queue, lane: LaneRecord): Backlog {
    let backlog = this.#lanes.get(lane);
    if (backlog === undefined) {
      backlog = {
        queue,
        here: 0,
        untried: new Set(),
        paged: 0,
        place: { death: 0, position: 0 },
        start: 0,
      };
      this.#lanes.set(lane, backlog);
    }
    return backlog;
  }

  // -- coming --

  /** What a former process has kept of a lane. */
  restore(queue: Queue, lane: LaneRecord, { count, first }: DeadCount): void {
    if (count === 0) return; // only rows whose messages are gone
    const backlog = this.#backlogOf(queue, lane);
    backlog.paged = count;
    this.#readBehind(backlog, { death: first - 1, position: LAST_POSITION });
    this.#paged += count;
    queue.keptLetters += count;
    this.#arm();
  }

  /**
   * Keeps a new letter without a try, if it must wait behind others that memory has no room for.
   * @returns whether it does
   */
  takeOver(queue: Queue, message: Message, reason: DeathReason): boolean {
    const backlog = this.#lanes.get(message.lane);
    if (backlog === undefined || !message.durable) return false;
    const isFull = backlog.here >= FEWEST && this.#here.size >= this.#host.limits.keptLetters;
    // Where those go that were not tried yet is not known: perhaps to the same queue.
    if (backlog.paged === 0 && backlog.untried.size === 0 && !isFull) return false;
    const dead = this.#host.store.dead;
    if (backlog.paged === 0) this.#readBehind(backlog, dead.end);
    dead.add(message, reason);
    dead.letGo(message);
    backlog.paged++;
    this.#paged++;
    queue.keptLetters++;
    queue.release(message);
    this.#arm();
    return true;
  }

  /** @param place of the last one of those that were put there */
  #readBehind(backlog: Backlog, place: Place): void {
    backlog.place = place;
    backlog.start = place.death;
  }

  /** The message of a letter that memory has is dead. Those that are in the table alone died later. */
  note(message: Message, reason: DeathReason): void {
    const backlog = this.#lanes.get(message.lane);
    const { dead } = this.#host.store;
    if (backlog === undefined || backlog.paged === 0) dead.add(message, reason);
    else dead.addAt(message, reason, backlog.start);
  }

  /**
   * A letter had nowhere to go.
   * @param address what others go by that have nowhere to go either; undefined: that is not known
   */
  keep(letter: DeadLetter, address: string | undefined): void {
    const { queue, message, reason } = letter;
    // One that waits behind older ones was not tried: that says nothing of them.
    const isTried = address === undefined || !this.mustWait(letter, address);
    const known = this.#addressOf(address);
    // Before it leaves the former one: that is forgotten when nothing waits for it.
    if (known !== undefined) known.waiting++;
    if (this.#here.has(letter)) {
      this.#tried(letter);
      this.#leave(letter);
    } else {
      this.note(message, reason);
      this.#backlogOf(queue, message.lane).here++;
      queue.keptLetters++;
      queue.release(message);
    }
    // A key that is there keeps its place.
    this.#here.set(letter, known);
    if (known !== undefined) {
      if (isTried && known.failedIn !== this.#pass) {
        known.failedIn = this.#pass;
        known.isPartial = false;
        this.#failures++;
      }
      known.isPartial ||= letter.takenBy !== undefined && letter.takenBy.size > 0;
    } else this.#failures++;
    this.#arm();
  }

  /** A letter is not kept any more, if it was. */
  remove(letter: DeadLetter): void {
    if (!this.#here.has(letter)) return;
    this.#tried(letter);
    this.#leave(letter);
    this.#here.delete(letter);
    letter.queue.keptLetters--;
    const { lane } = letter.message;
    const backlog = this.#lanes.get(lane)!;
    backlog.here--;
    this.#forgetIfEmpty(lane, backlog);
  }

  #tried(letter: DeadLetter): void {
    this.#lanes.get(letter.message.lane)!.untried.delete(letter);
  }

  #forgetIfEmpty(lane: LaneRecord, { here, paged }: Backlog): void {
    if (here === 0 && paged === 0) this.#lanes.delete(lane);
  }

  // -- addresses --

  #addressOf(name: string | undefined): Address | undefined {
    if (name === undefined || name.length > LONGEST_ADDRESS) return undefined;
    let address = this.#addresses.get(name);
    if (address === undefined) {
      address = { name, waiting: 0, isPartial: false, failedIn: -1 };
      this.#addresses.set(name, address);
    }
    return address;
  }

  #leave(letter: DeadLetter): void {
    const address = this.#here.get(letter);
    if (address !== undefined && --address.waiting === 0) this.#addresses.delete(address.name);
  }

  /** Whether older letters wait for the same: this one has nowhere to go, or would be before them. */
  mustWait(letter: DeadLetter, name: string): boolean {
    const address = this.#addresses.get(name);
    if (address === undefined) return false;
    if (this.#here.has(letter)) return address.failedIn === this.#pass;
    return !address.isPartial;
  }

  // -- trying again --

  /** A pass is under way. */
  get isTrying(): boolean {
    return this.#isTrying;
  }

  #arm(): void {
    if (this.#isArmed || this.#isTrying) return;
    this.#isArmed = true;
    this.#host.deadlines.after(RETRY_MS, () => {
      this.#isArmed = false;
      this.#begin();
    });
  }

  #begin(): void {
    if (this.count === 0) return;
    this.#isTrying = true;
    this.#failures = 0;
    // One that had too many failures goes on.
    if (this.#sources === undefined) {
      this.#pass++;
      this.#letters = this.#here.keys();
      this.#sources = this.#lanes.entries();
    }
    this.#host.schedule();
  }

  #pause(): undefined {
    this.#isTrying = false;
    if (this.count > 0) this.#arm();
  }

  /** The next one to try; undefined: none in this second. */
  next(): DeadLetter | undefined {
    while (this.#isTrying) {
      if (this.#failures >= MOST_FAILURES) return this.#pause();
      const { value: letter } = this.#letters!.next() as IteratorResult<DeadLetter, undefined>;
      if (letter !== undefined) {
        const isVain = this.#here.get(letter)?.failedIn === this.#pass;
        if (!isVain || letter.queue.deleted) return letter;
      } else if (!this.#read()) {
        this.#letters = this.#sources = undefined;
        return this.#pause();
      }
    }
    return undefined;
  }

  /** Reads more, if there is room and there are any. */
  #read(): boolean {
    for (;;) {
      this.#source ??= this.#sources!.next().value as [LaneRecord, Backlog] | undefined;
      if (this.#source === undefined) return false;
      const letters = this.#readOf(...this.#source);
      if (letters.length > 0) {
        this.#letters = letters.values();
        return true;
      }
      this.#source = undefined;
    }
  }

  #readOf(lane: LaneRecord, backlog: Backlog): DeadLetter[] {
    const { queue } = backlog;
    if (queue.deleted) this.#forgetPaged(lane, backlog);
    const room = Math.max(this.#host.limits.keptLetters - this.#here.size, FEWEST - backlog.here);
    if (backlog.paged === 0 || room <= 0) return [];
    const limit = Math.min(room, BATCH);
    const dead = this.#host.store.dead;
    const found = dead.read(lane, backlog.place, limit);
    if (found === undefined) return [];
    const letters: DeadLetter[] = [];
    for (const { message, reason, ...place } of found) {
      backlog.place = place;
      backlog.paged--;
      this.#paged--;
      if (message === undefined) {
        queue.keptLetters--;
        continue;
      }
      const letter = letterOf(queue, message, reason);
      letters.push(letter);
      this.#here.set(letter, undefined);
      backlog.untried.add(letter);
      backlog.here++;
    }
    // Those that are not written yet come in the next pass; others are gone.
    if (found.length === 0 && !dead.dirty) this.#forgetPaged(lane, backlog);
    else this.#forgetIfEmpty(lane, backlog);
    return letters;
  }

  #forgetPaged(lane: LaneRecord, backlog: Backlog): void {
    this.#paged -= backlog.paged;
    backlog.queue.keptLetters -= backlog.paged;
    backlog.paged = 0;
    this.#forgetIfEmpty(lane, backlog);
  }
}
