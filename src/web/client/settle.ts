/** Replays or drops messages of a queue, after asking. */
import type { ActionResult, Selection } from "../../observe/board.ts";
import { saidOf } from "./action_result.ts";
import { ask } from "./api.ts";
import { plural } from "./format.ts";
import { desk } from "./ui.tsx";

/**
 * @param path of the queue
 * @param number how many there are, as far as is known
 */
export function askToSettle(
  action: "replay" | "drop",
  path: string,
  selection: Selection,
  number: number,
  onDone: () => void,
): void {
  const isDrop = action === "drop";
  const what = `${isDrop ? "Drop" : "Replay"} ${plural(number, "task")}`;
  const [dropped, replayed] = number === 1
    ? [
      "It is removed for good.",
      "It goes back to the queue that it came from, as if it had never been tried.",
    ]
    : [
      "They are removed for good.",
      "They go back to the queues that they came from, as if they had never been tried.",
    ];
  desk.ask({
    title: `${what}?`,
    text: isDrop ? dropped : replayed,
    action: what,
    danger: isDrop,
    act: async () => {
      const result = await ask<ActionResult>("POST", `${path}/${action}`, selection);
      onDone();
      return saidOf(result, isDrop ? "dropped" : "replayed");
    },
  });
}
