/** The time, for much that happens at once: asking for it is a tenth of what a short task costs. */

let known: number | undefined;

function forget(): void {
  known = undefined;
}

/** performance.now() of the first who asked in what is done in one go: until anything is awaited. */
export function turnTime(): number {
  if (known === undefined) {
    known = performance.now();
    queueMicrotask(forget);
  }
  return known;
}
