/**
 * Waits for a promise, but not for ever.
 *
 * @param ms milliseconds; at most 2^31 - 1
 * @param late makes the error to throw when the time has passed; the promise itself goes on, and
 *   its later result is handed to `discard`
 */
export async function deadline<T>(
  promise: Promise<T>,
  ms: number,
  late: () => Error,
  discard: (value: T) => void = () => {},
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let passed = false;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      passed = true;
      reject(late());
    }, Math.max(0, ms));
  });
  promise.then((value) => passed ? discard(value) : undefined, () => {});
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
