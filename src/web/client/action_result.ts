/** What an action did, in a sentence. */
import type { ActionResult } from "../../observe/board.ts";
import { count, plural } from "./format.ts";

/** @param verb "replayed" */
export function saidOf(
  { done, gone, failed, reason, to = [] }: ActionResult,
  verb: string,
): string {
  if (done + gone + failed === 0) return "Nothing was there any more: somebody was quicker.";
  const where = to.length === 0
    ? ""
    : ` to ${to.slice(0, 3).join(", ")}${to.length > 3 ? " and others" : ""}`;
  const parts = [`${plural(done, "task")} ${verb}${where}.`];
  if (gone > 0) {
    parts.push(
      `${count(gone)} ${gone === 1 ? "was" : "were"} not there any more: somebody was quicker.`,
    );
  }
  if (failed > 0) {
    parts.push(`${plural(failed, "task")} stayed: ${reason ?? "for no known reason"}.`);
  }
  return parts.join(" ");
}
