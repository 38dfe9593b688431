/**
 * Finds by halves where something begins.
 *
 * @param isThere of an index: false for those before, true from there on
 * @returns the first index from `low` on that is there; `high`: none below it is
 */
export function firstIndex(
  low: number,
  high: number,
  isThere: (index: number) => boolean,
): number {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isThere(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
