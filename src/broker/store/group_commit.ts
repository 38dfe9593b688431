/**
 * Group commit: everything that the connections asked for in one turn of the event loop becomes one
 * commit of the store. Nothing leaves the process before what it depends on is on disk.
 */

import type { Author } from "./refusals.ts";
import type { Store } from "./store.ts";

/** A channel with publishes to confirm. */
export interface Confirming {
  confirm(): void;
}

/** A connection with frames to send. */
export interface Flushing {
  /** Whether an answer that waits there is only true once it is on disk. */
  readonly needsCommit: boolean;
  flush(): void;
}

/** Work that belongs to a commit and is done right before it. */
export interface BeforeCommit {
  run(): void;
}

/** Milliseconds after which a failed commit is tried again. */
const RETRY_MS = 1_000;

/**
 * Milliseconds that changes wait for company when nobody waits for them: acknowledgements, and
 * publishes without confirms. A crash within them repeats deliveries, or loses what no publisher was
 * told to be safe.
 */
const LAZY_MS = 20;

/** Milliseconds until marks of delivered messages are written that no other commit took along. */
const DELIVERED_MS = 200;

export class GroupCommit {
  readonly #store: Store;
  readonly #beforeCommit: BeforeCommit;
  /** Told how many milliseconds a commit took, whether it is on disk or not. */
  onCommit: ((ms: number) => void) | undefined;
  /** The end of this turn is scheduled. */
  #scheduled = false;
  #confirming = new Set<Confirming>();
  #flushing = new Set<Flushing>();
  /** Set by a commit that failed: no turn ends in a commit before it fires. */
  #retry: ReturnType<typeof setTimeout> | undefined;
  #lazyTimer: ReturnType<typeof setTimeout> | undefined;
  #deliveredTimer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(store: Store, beforeCommit: BeforeCommit) {
    this.#store = store;
    this.#beforeCommit = beforeCommit;
  }

  /** Whose requests are worked off from now on; undefined: nobody's. */
  set author(author: Author | undefined) {
    this.#store.author = author;
  }

  /** Something has changed: ends the turn once everything that is ready to be read has been read. */
  schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    setImmediate(() => this.endTurn());
  }

  /** Confirms the publishes of a channel after the commit. */
  confirm(channel: Confirming): void {
    this.#confirming.add(channel);
    this.schedule();
  }

  /** Sends the frames of a connection after the commit. */
  flush(connection: Flushing): void {
    this.#flushing.add(connection);
    this.schedule();
  }

  /** Commits if anybody waits for it, confirms, sends. */
  endTurn(): void {
    this.#scheduled = false;
    this.#beforeCommit.run();
    // Deliveries do not wait for the disk: consumers work on them meanwhile.
    this.#flushAll(false);
    if (this.#retry !== undefined) return;
    const isAwaited = this.#confirming.size > 0 || this.#flushing.size > 0;
    if (isAwaited || this.#store.isFull) this.#commit();
    else if (this.#store.dirty) this.#waitForCompany();
    if (this.#store.hasDelivered) {
      this.#deliveredTimer ??= setTimeout(() => this.#writeDelivered(), DELIVERED_MS);
    }
  }

  /** Longer while the disk is full: few large commits take less of it than many small ones. */
  #waitForCompany(): void {
    const ms = this.#store.isFailing ? RETRY_MS : LAZY_MS;
    this.#lazyTimer ??= setTimeout(() => this.#commit(), ms);
  }

  #commit(): void {
    clearTimeout(this.#lazyTimer);
    this.#lazyTimer = undefined;
    // A timer may come in the middle of a turn.
    this.#beforeCommit.run();
    const start = performance.now();
    const safe = this.#store.commit();
    this.onCommit?.(performance.now() - start);
    if (safe) {
      const confirming = this.#confirming;
      this.#confirming = new Set();
      for (const channel of confirming) channel.confirm();
    } else {
      this.#retry ??= setTimeout(() => this.#tryAgain(), RETRY_MS);
    }
    this.#flushAll(safe);
  }

  #tryAgain(): void {
    this.#retry = undefined;
    this.#commit();
  }

  #writeDelivered(): void {
    this.#deliveredTimer = undefined;
    this.#store.forceDelivered();
    this.#commit();
  }

  /** @param safe whether all is on disk that answers may depend on */
  #flushAll(safe: boolean): void {
    const flushing = this.#flushing;
    this.#flushing = new Set();
    for (const connection of flushing) {
      if (safe || !connection.needsCommit) connection.flush();
      else this.#flushing.add(connection);
    }
  }

  /** The last commit, whoever waits for it. */
  stop(): void {
    this.#store.forceDelivered();
    this.#commit();
    this.#stopped = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#lazyTimer);
    clearTimeout(this.#deliveredTimer);
  }
}
