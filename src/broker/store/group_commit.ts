/**
 * Group commit: everything that the connections asked for in one turn of the event loop becomes one
 * commit of the store. It is written at once and then synced to the disk, while turns go on; what
 * they change meanwhile is the next commit. Nothing leaves the process before what it depends on is
 * on disk.
 */

import type { Author } from "./refusals.ts";
import type { Store } from "./store.ts";

/** A channel with publishes to confirm. */
export interface Confirming {
  /** The commit is written: the answer may be, too. It leaves when the commit is on disk. */
  confirm(): void;
}

/** A connection with frames to send. */
export interface Flushing {
  /** Whether an answer that waits there is only true with the next commit. */
  readonly needsCommit: boolean;
  /** Sends what waits for no disk. */
  flush(): void;
  /** The commit is written. @returns sends what waits for it, once it is known to be on disk */
  committed(): (isSafe: boolean) => void;
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

/**
 * Milliseconds until it is written how far lanes were delivered, where no other commit took that
 * along, and from then on until it is synced: a short task ends before that, and its end takes it
 * along. A broker that is killed knows it by its marks (file/delivered_marks.ts).
 */
const DELIVERED_MS = 200;
const DELIVERED_SYNC_MS = 1_000;

/** Connections with something to send that are as much as a turn should leave behind. */
const MOST_TOUCHED = 256;

export class GroupCommit {
  readonly #store: Store;
  readonly #beforeCommit: BeforeCommit;
  /** Told how many milliseconds it took until a commit was on disk. */
  onCommit: ((ms: number) => void) | undefined;
  /** The end of this turn is scheduled. */
  #scheduled = false;
  #confirming = new Set<Confirming>();
  /** The last of them: mostly the next publish is of the same channel. */
  #lastConfirming: Confirming | undefined;
  /** To be told when the next commit is on disk. */
  #askers: (() => void)[] = [];
  #flushing = new Set<Flushing>();
  /** How many have come to them since what waits for nothing was sent. */
  #touched = 0;
  /** Told whether a commit is on disk that is written, and waits for the next sync. */
  #unsynced: ((isSafe: boolean) => void)[] = [];
  /** The syncs that are under way. */
  readonly #syncing = new Set<Promise<void>>();
  /** Nothing is committed: the log is emptied, or will be as soon as no sync is under way. */
  #isHeld = false;
  /** A commit waits for its time. */
  #isNextDue = false;
  #paceTimer: ReturnType<typeof setTimeout> | undefined;
  /** Set by a commit that failed: no turn ends in a commit before it fires. */
  #retry: ReturnType<typeof setTimeout> | undefined;
  #lazyTimer: ReturnType<typeof setTimeout> | undefined;
  #deliveredTimer: ReturnType<typeof setTimeout> | undefined;
  #deliveredSyncTimer: ReturnType<typeof setTimeout> | undefined;
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
    if (channel !== this.#lastConfirming) this.#confirming.add(this.#lastConfirming = channel);
    this.schedule();
  }

  /** Tells somebody who writes to no connection when the commit is on disk. */
  whenSafe(tell: () => void): void {
    this.#askers.push(tell);
    this.schedule();
  }

  /** Sends the frames of a connection after the commit. */
  flush(connection: Flushing): void {
    const { size } = this.#flushing;
    this.#touched += this.#flushing.add(connection).size - size;
    this.schedule();
  }

  /** Whether so many connections have something to send that this should be done first. */
  get isCrowded(): boolean {
    return this.#touched >= MOST_TOUCHED;
  }

  /** Sends what waits for nothing, and commits if anybody waits for it. */
  endTurn(): void {
    this.#scheduled = false;
    if (this.#stopped) return;
    this.#beforeCommit.run();
    // Deliveries do not wait for the disk: consumers work on them meanwhile.
    this.#flushAll();
    if (this.#retry !== undefined) return;
    if (this.#isAwaited || this.#store.isFull) this.#commit();
    else if (this.#store.dirty) this.#waitForCompany();
    if (this.#store.hasDelivered) this.#awaitDelivered(DELIVERED_MS);
    this.#checkpointIfDue();
  }

  #awaitDelivered(ms: number): void {
    this.#deliveredTimer ??= setTimeout(() => this.#writeDelivered(), ms);
  }

  /** Somebody is to be told when the next commit is on disk. */
  get #isAwaited(): boolean {
    return this.#confirming.size + this.#flushing.size + this.#askers.length > 0;
  }

  /** Longer while the disk is full: few large commits take less of it than many small ones. */
  #waitForCompany(): void {
    const ms = this.#store.isFailing ? RETRY_MS : LAZY_MS;
    this.#lazyTimer ??= setTimeout(() => this.#commit(), ms);
  }

  #commit(): void {
    clearTimeout(this.#lazyTimer);
    this.#lazyTimer = undefined;
    if (this.#mustWait()) return;
    // A timer may come in the middle of a turn.
    this.#beforeCommit.run();
    const start = performance.now();
    if (this.#store.commit()) this.#written(start);
    else this.#retry ??= setTimeout(() => this.#tryAgain(), RETRY_MS);
    this.#sync();
    this.#flushAll();
    // Behind what all were told: they do not wait for it.
    this.#checkpointIfDue();
  }

  /**
   * What comes while syncs are under way goes together for a while, unless it becomes too much; and
   * even then while they have enough to do: each waits for all that was written before it began.
   */
  #mustWait(): boolean {
    const isHeld = this.#isHeld || this.#store.file.log.isBehind;
    const ms = isHeld ? Infinity : this.#store.syncPause;
    this.#isNextDue = ms > 0 && (isHeld || !this.#store.isFull);
    if (this.#isNextDue && ms < Infinity) this.#paceTimer ??= setTimeout(() => this.#paced(), ms);
    return this.#isNextDue;
  }

  #paced(): void {
    this.#paceTimer = undefined;
    if (this.#isNextDue) this.#commit();
  }

  #tryAgain(): void {
    this.#retry = undefined;
    this.#commit();
  }

  #writeDelivered(): void {
    this.#deliveredTimer = undefined;
    const isAlone = !this.#isAwaited && !this.#store.dirty && this.#retry === undefined;
    this.#store.forceDelivered();
    // One commit does not write very many.
    if (this.#store.hasDelivered && this.#retry === undefined) this.#awaitDelivered(LAZY_MS);
    if (!isAlone || this.#isHeld || this.#store.syncPause > 0) return this.#commit();
    if (!this.#store.commit()) this.#retry ??= setTimeout(() => this.#tryAgain(), RETRY_MS);
    this.#deliveredSyncTimer ??= setTimeout(() => {
      this.#deliveredSyncTimer = undefined;
      // Whatever holds up the sync now, there is one afterwards.
      this.#unsynced.push(() => {});
      this.#sync();
    }, DELIVERED_SYNC_MS);
  }

  /** Answers are written now, and leave when their commit is on disk. @param start of the commit */
  #written(start: number): void {
    const confirming = this.#confirming;
    this.#confirming = new Set();
    this.#lastConfirming = undefined;
    for (const channel of confirming) channel.confirm();
    for (const connection of this.#flushing) {
      if (connection.needsCommit) this.#unsynced.push(connection.committed());
    }
    const askers = this.#askers;
    this.#askers = [];
    this.#unsynced.push((isSafe) => {
      if (isSafe) { for (const tell of askers) tell(); }
      this.onCommit?.(performance.now() - start);
    });
  }

  #sync(): void {
    if (this.#isHeld || this.#store.syncPause === Infinity) return;
    clearTimeout(this.#deliveredSyncTimer);
    this.#deliveredSyncTimer = undefined;
    const waiting = this.#unsynced;
    this.#unsynced = [];
    const done = this.#store.sync();
    if (done === undefined) return this.#tell(waiting, true);
    const syncing = done.then((isSafe) => {
      this.#syncing.delete(syncing);
      this.#tell(waiting, isSafe);
      if (this.#isHeld || this.#store.needsCheckpoint) this.#checkpoint();
      else this.#goOn();
    });
    this.#syncing.add(syncing);
  }

  /** Whoever is told may send what this turn has delivered. */
  #tell(waiting: readonly ((isSafe: boolean) => void)[], isSafe: boolean): void {
    this.#store.file.marks.write();
    for (const tell of waiting) tell(isSafe);
  }

  #goOn(): void {
    if (this.#isNextDue) this.#commit();
    if (this.#unsynced.length > 0) this.#sync();
  }

  /** Unless syncs are under way, after which it is looked again. */
  #checkpointIfDue(): void {
    if (this.#syncing.size === 0 && this.#store.needsCheckpoint) this.#checkpoint();
  }

  /** No commits from now on; when no sync is under way any more the log is emptied. */
  #checkpoint(): void {
    this.#isHeld = true;
    if (this.#syncing.size > 0) return;
    const running = this.#store.checkpoint().then(() => {
      this.#syncing.delete(running);
      this.#isHeld = false;
      this.#goOn();
    });
    this.#syncing.add(running);
  }

  /** Those that wait for no commit. */
  #flushAll(): void {
    this.#store.file.marks.write();
    this.#touched = 0;
    for (const connection of this.#flushing) {
      if (connection.needsCommit) continue;
      this.#flushing.delete(connection);
      connection.flush();
    }
  }

  /** The last commits, whoever waits for them. Resolves when they are on disk, or cannot be. */
  async stop(): Promise<void> {
    this.#store.forceDelivered(Infinity);
    do {
      this.#commit();
      while (this.#syncing.size > 0) await Promise.all(this.#syncing);
    } while (this.#store.dirty && !this.#store.lastCommitFailed);
    this.#stopped = true;
    clearTimeout(this.#paceTimer);
    clearTimeout(this.#retry);
    clearTimeout(this.#lazyTimer);
    clearTimeout(this.#deliveredTimer);
    clearTimeout(this.#deliveredSyncTimer);
  }
}
