import { after, type Timer } from "./timer.ts";

/**
 * Waits for a promise, but not for ever.
 *
 * @param ms milliseconds
 * @param late makes the error to throw when the time has passed; the promise itself goes on, and
 *   its later result is handed to `discard`
 */
export async function deadline<T>(
  promise: Promise<T>,
  ms: number,
  late: () => Error,
  discard: (value: T) => void = () => {},
): Promise<T> {
  let timer: Timer | undefined;
  let passed = false;
  const timeout = new Promise<never>((_, reject) => {
    timer = after(ms, () => {
      passed = true;
      reject(late());
    });
  });
  promise.then((value) => passed ? discard(value) : undefined, () => {});
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    timer?.cancel();
  }
}
