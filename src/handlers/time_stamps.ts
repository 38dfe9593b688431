/** Whether the time stamps of a file or a directory tell that it is what it was. */

/** What was changed so lately, in milliseconds, may change again within its time stamps. */
const RACY_MS = 1_000;

/** @param now milliseconds since 1970 */
export function areTimesTelling(
  { mtime, ctime }: Pick<Deno.FileInfo, "mtime" | "ctime">,
  now: number,
): boolean {
  return now - Math.max(+mtime!, +ctime!) > RACY_MS;
}
