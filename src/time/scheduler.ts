/**
 * All work that is cut in pieces: what connections send, what expires, dead letters. Whoever has
 * more to do than fits into a slice goes on in his next turn.
 *
 * Work that has just come is done at once, a slice of it, or a piece where so much has changed that
 * it should be committed: a consumer that acknowledges gets its next deliveries although others fill
 * every commit. What is left waits. A round gives slices to all that waits, in turn, until the time
 * of the round is over or so much has changed. Then sockets are looked at, the changes become a
 * commit, and the next round begins where this one ended. So a newcomer waits for a round and a
 * commit, whoever else has work and however much.
 *
 * A slice ends between two pieces only: a piece is what must be whole, such as one publish with all
 * its copies (where those are very many, some of them), or one dead letter with the removal of its
 * source. What is not done yet keeps its source, and a power cut between two commits finds either.
 */

/** Something that may take long. */
export interface Work {
  /**
   * Does pieces of it until the slice is over, at least one.
   * @returns whether there is more
   */
  work(slice: Slice): boolean;
  /** Whether little has come, as far as can be told: it is done before what others have just begun. */
  readonly isLittle?: boolean;
}

export interface Slice {
  /** Asked after each piece, or after a few that take next to no time. */
  readonly isOver: boolean;
}

/** Milliseconds of one work in its turn, and among very many. */
const SLICE_MS = 2;
const LEAST_SLICE_MS = 0.1;

/** Milliseconds that all who wait share out, as far as slices do not get too short. */
const SHARED_MS = 30;

/**
 * So many are a crowd. In it, who took more than so many milliseconds the last time does not count as
 * a newcomer when he comes again, but waits with the others who have much to do: hundreds who never have
 * enough would all be before one who wants a little now and then. What he took is forgotten by half
 * each time: a read that does not bring all of a large frame takes no time.
 */
const CROWD = 16;
const LONG_MS = 1;

/** Milliseconds of all newcomers, and of all that waits, until sockets are looked at again. */
const ROUND_MS = 15;

/**
 * The same of all that waits, while others come who are soon done, such as a consumer that
 * acknowledges: what he gets next waits for a round. Whoever had to wait himself in one of the last
 * rounds is not meant.
 */
const SHORT_ROUND_MS = 5;
const LAST_ROUNDS = 16;

/** Milliseconds until the next look whether there is room for changes: the commit waits for the disk. */
const FULL_MS = 2;

export class Scheduler implements Slice {
  readonly #onFault: (error: unknown) => void;
  readonly #isFull: () => boolean;
  readonly #afterSockets: (run: () => void) => void;
  /**
   * What came when the newcomers' time was over, that of which little had come before the others; and
   * what has had a slice. Each in turn.
   */
  readonly #little = new Set<Work>();
  readonly #fresh = new Set<Work>();
  readonly #waiting = new Set<Work>();
  /** Milliseconds that newcomers have used since the last round. */
  #freshUsed = 0;
  #rounds = 0;
  /** Milliseconds that a work has taken since it last came, and of what was long before half. */
  readonly #taken = new WeakMap<Work, number>();
  /** In which round a work had to wait. */
  readonly #waitedIn = new WeakMap<Work, number>();
  /** In which round somebody last came who was soon done. */
  #quickCameIn = -Infinity;
  #sliceEnd = 0;
  /** A round is to come. */
  #isArmed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  /**
   * @param onFault told what a work throws; it is not done any more
   * @param isFull whether there is no more room for what changes, before the next commit
   * @param afterSockets runs something once sockets were looked at, for one at a time
   */
  constructor(
    onFault: (error: unknown) => void,
    isFull: () => boolean,
    afterSockets: (run: () => void) => void = (run) => setTimeout(run, 0),
  ) {
    this.#onFault = onFault;
    this.#isFull = isFull;
    this.#afterSockets = afterSockets;
  }

  get isOver(): boolean {
    return performance.now() >= this.#sliceEnd || this.#isFull();
  }

  /**
   * Begins a work at once if there is time.
   * @returns whether it is done; else it goes on by itself
   */
  start(work: Work): boolean {
    if (this.has(work)) return false;
    const last = this.#taken.get(work) ?? 0;
    const wasLong = last > LONG_MS;
    this.#taken.set(work, wasLong ? last / 2 : 0);
    if (wasLong && this.#isCrowd) this.#waiting.add(work);
    else if (this.#freshUsed < ROUND_MS) {
      const start = performance.now();
      const isDone = !this.#run(work, start);
      this.#freshUsed += this.#noteLength(work, start) - start;
      if (isDone) {
        const waitedIn = this.#waitedIn.get(work) ?? -Infinity;
        if (this.#rounds - waitedIn > LAST_ROUNDS) this.#quickCameIn = this.#rounds;
        return true;
      }
      this.#waiting.add(work);
    } else (work.isLittle ? this.#little : this.#fresh).add(work);
    this.#waitedIn.set(work, this.#rounds);
    this.#arm();
    return false;
  }

  get #isCrowd(): boolean {
    return this.#count >= CROWD;
  }

  get #count(): number {
    return this.#little.size + this.#fresh.size + this.#waiting.size;
  }

  /** Its turn is over. @returns the time, which is asked for once */
  #noteLength(work: Work, start: number): number {
    const end = performance.now();
    this.#taken.set(work, (this.#taken.get(work) ?? 0) + end - start);
    return end;
  }

  /** Whether a work will have a turn. */
  has(work: Work): boolean {
    return this.#count > 0 &&
      (this.#waiting.has(work) || this.#fresh.has(work) || this.#little.has(work));
  }

  /** Work for later turns. */
  add(work: Work): void {
    if (this.#fresh.has(work) || this.#little.has(work)) return;
    this.#waiting.add(work);
    this.#arm();
  }

  /**
   * Does as much of a work as fits into some milliseconds, now.
   * @returns whether it is done
   */
  rush(work: Work, ms: number): boolean {
    const end = performance.now() + ms;
    const slice = {
      get isOver(): boolean {
        return performance.now() >= end;
      },
    };
    for (;;) {
      if (!work.work(slice)) return true;
      if (slice.isOver) return false;
    }
  }

  /** @returns whether there is more */
  #run(work: Work, start: number, ms = SLICE_MS): boolean {
    // A work may start another one.
    const end = this.#sliceEnd;
    this.#sliceEnd = start + ms;
    try {
      return work.work(this);
    } catch (error) {
      this.#onFault(error);
      return false;
    } finally {
      this.#sliceEnd = end;
    }
  }

  /** Of timers that are due, and of immediates, Deno runs many before it looks at a socket. */
  #arm(ms = 0): void {
    if (this.#stopped || this.#isArmed) return;
    this.#isArmed = true;
    const begin = () => this.#afterSockets(() => this.#doRound());
    if (ms === 0) begin();
    else this.#timer = setTimeout(begin, ms);
  }

  #doRound(): void {
    this.#isArmed = false;
    if (this.#stopped) return;
    this.#rounds++;
    const wasFull = this.#isFull();
    const little = this.#takeTurns(this.#little, ROUND_MS, ROUND_MS);
    this.#freshUsed = little + this.#takeTurns(this.#fresh, ROUND_MS - little, ROUND_MS);
    if (!this.#isFull()) {
      const isShort = this.#rounds - this.#quickCameIn <= LAST_ROUNDS;
      this.#takeTurns(this.#waiting, isShort ? SHORT_ROUND_MS : ROUND_MS, SHARED_MS);
    }
    if (this.#count > 0) this.#arm(wasFull ? FULL_MS : 0);
  }

  /**
   * @param most milliseconds
   * @param shared the same, which all of them share out, if they are many
   * @returns those that it took
   */
  #takeTurns(works: Set<Work>, most: number, shared: number): number {
    const slice = Math.min(SLICE_MS, Math.max(LEAST_SLICE_MS, shared / works.size));
    const start = performance.now();
    let time = start;
    for (const work of works) {
      works.delete(work);
      // Behind all others, and still met by this loop if there is time.
      if (this.#run(work, time, slice)) this.#waiting.add(work);
      time = this.#noteLength(work, time);
      if (time - start >= most || this.#isFull()) break;
    }
    return time - start;
  }

  /** Nothing is begun any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#little.clear();
    this.#fresh.clear();
    this.#waiting.clear();
  }
}
