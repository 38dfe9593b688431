/** Runs a handler so that every ending is a value. */
import { type Handler, INTERRUPTED, type Outcome, type TaskContext } from "../task/handler.ts";
import type { Task } from "../task/task.ts";

/** Never rejects: an exception becomes `failed`, or `interrupted` after an abort of ours. */
export async function execute(
  handler: Handler,
  task: Task,
  context: TaskContext,
): Promise<Outcome> {
  try {
    return await handler(task, context);
  } catch (error) {
    if (context.signal.aborted) return INTERRUPTED;
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}
