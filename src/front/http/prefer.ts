/** https://www.rfc-editor.org/rfc/rfc7240 */

/** A connection must not be kept for ever. */
const LONGEST_WAIT_S = 600;

/** How long whoever asks would wait, in seconds; 0: not at all, or it is not said how long. */
export function readWait(prefer: string | string[] | undefined): number {
  const text = Array.isArray(prefer) ? prefer.join(",") : prefer ?? "";
  for (const preference of text.split(",")) {
    const seconds = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;|$)/i.exec(preference)?.[1];
    // Of several that contradict each other the first one holds.
    if (seconds !== undefined) return Math.min(Number(seconds), LONGEST_WAIT_S);
  }
  return 0;
}
