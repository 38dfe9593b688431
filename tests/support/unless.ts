/** Tests of what not every host has. */

/**
 * Name and state of a test, or of a step: what cannot run here is ignored, and its name says why.
 * @param missing why it cannot; undefined: it can
 */
export function unless(
  missing: string | undefined,
  name: string,
): { name: string; ignore: boolean } {
  if (missing === undefined) return { name, ignore: false };
  return { name: `${name} (ignored: ${missing})`, ignore: true };
}
