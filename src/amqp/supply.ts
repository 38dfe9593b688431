/**
 * Gives things one by one, without a promise for what is there already: of a million lines most are,
 * and a promise costs more than a line.
 */
export interface Supply<T> {
  /**
   * The next one, a promise of it while it has to be waited for, or undefined at the end. Not to be
   * called again before that promise has settled.
   */
  next(): T | undefined | Promise<T | undefined>;
  /** No more are wanted. One that is waited for may still come, and what it holds is freed then. */
  close(): void;
}
