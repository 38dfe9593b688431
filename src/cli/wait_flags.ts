/** The options of tasks whose answers are waited for. */
import { UsageError } from "../errors.ts";
import { toggle, type Values } from "./flags.ts";

export const WAIT_FLAGS = {
  wait: toggle({
    group: "answer",
    help: "wait until the task has ended, print what its worker answers, and end with its exit " +
      "status; of many tasks, print a line of JSON for each; --timeout is the limit, if it is given",
  }),
  progress: toggle({
    group: "answer",
    help: "with --wait, show on stderr how far the task is",
    needs: ["wait"],
  }),
};

/** For the help page. */
export const WAIT_HELP: readonly [string, string] = [
  "Answers (--wait)",
  `  The answer is stdout of the worker's command, what its function returned, or the body that its web
  application sent, at most 1 MiB of it. Retries are none. Of a task that is dead the reason goes to
  stderr, and the status is its command's, or 1. Without --timeout there is no limit but the 5s for
  the confirm. A task whose answer did not come (75) may be done already, or later: nothing takes it
  back. A connection that is lost takes the answers with it.

  Of many tasks 256, or 16 MiB, are under way at a time, and a line comes when a task has ended:
  number (its place), id, outcome (done, dead, unknown), body, body_base64 or json, and where there
  are such content_type, exit_code, cut, skipped, reason, error, stderr_tail. Status: 0 all are
  done, 1 some are dead, 75 of some no answer came. The first Ctrl-C sends no more and waits for
  what is under way.`,
];

/** How an answer is waited for. */
export interface WaitOptions {
  /** From the sending to the answer, in milliseconds, or Infinity. */
  readonly answerMs: number;
  readonly progress: boolean;
}

/**
 * @param given names of the options on the command line
 * @param others what else is asked for
 * @returns undefined: nobody waits
 * @throws {UsageError}
 */
export function readWaitOptions(
  values: Values<typeof WAIT_FLAGS> & { readonly timeout: number },
  given: ReadonlySet<string>,
  others: { readonly isScheduled: boolean; readonly isBulk: boolean },
): WaitOptions | undefined {
  if (!values.wait) return undefined;
  if (others.isScheduled) {
    throw new UsageError("--wait is for tasks that are sent once, and a schedule was given");
  }
  if (given.has("reply-to")) {
    throw new UsageError("with --wait the answer comes here, and --reply-to was given");
  }
  if (others.isBulk && given.has("correlation-id")) {
    throw new UsageError("with --wait each of many tasks has a correlation id of its own");
  }
  return { answerMs: given.has("timeout") ? values.timeout : Infinity, progress: values.progress };
}
