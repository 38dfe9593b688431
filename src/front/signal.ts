/**
 * Signals that many tasks share: each has one listener of ours, because adding one looks at all that
 * are there already.
 */

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back when a signal aborts, at once when it has.
 *
 * @returns ends that
 */
export function heed(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    callback();
    return () => {};
  }
  let callbacks = listeners.get(signal);
  if (callbacks === undefined) {
    const all = callbacks = new Set<() => void>();
    listeners.set(signal, all);
    signal.addEventListener("abort", () => {
      listeners.delete(signal);
      for (const call of all) call();
    }, { once: true });
  }
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}
