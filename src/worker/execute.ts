/** Runs a handler so that every ending is a value, and within its time. */
import { type Handler, INTERRUPTED, type Outcome } from "../task/handler.ts";
import type { Task } from "../task/task.ts";

export interface ExecuteOptions {
  /** 1 for the first attempt. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Aborts when the worker ends. */
  readonly interrupt: AbortSignal;
  /** Time for the task in milliseconds; absent: no limit. */
  readonly timeoutMs?: number;
  /** How long a handler that was told to stop may take, in milliseconds. */
  readonly stopMs: number;
  /** Called when a handler was told to stop and did not; it is still running then. */
  readonly onHung: () => void;
}

/** Never rejects: an exception becomes `failed`, or `interrupted` after an abort of ours. */
export async function execute(
  handler: Handler,
  task: Task,
  options: ExecuteOptions,
): Promise<Outcome> {
  const { interrupt, timeoutMs, stopMs } = options;
  const controller = new AbortController();
  const { signal } = controller;
  const hung = Promise.withResolvers<Outcome>();
  let stopTimer: ReturnType<typeof setTimeout> | undefined;
  function stop(reason: Error): void {
    if (signal.aborted) return;
    stopTimer = setTimeout(() => {
      options.onHung();
      hung.resolve(endedByUs(signal));
    }, stopMs);
    controller.abort(reason);
  }
  function onInterrupt(): void {
    stop(new Error("the worker is ending"));
  }
  const timer = timeoutMs === undefined ? undefined : setTimeout(
    () => stop(new DOMException(`the task took longer than ${timeoutMs} ms`, "TimeoutError")),
    timeoutMs,
  );
  interrupt.addEventListener("abort", onInterrupt);
  if (interrupt.aborted) onInterrupt();
  try {
    const running = handler(task, {
      signal,
      attempt: options.attempt,
      maxAttempts: options.maxAttempts,
      ...(timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }),
    });
    return await Promise.race([running, hung.promise]);
  } catch (error) {
    if (signal.aborted) return endedByUs(signal);
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
    clearTimeout(stopTimer);
    interrupt.removeEventListener("abort", onInterrupt);
  }
}

/** The outcome of a handler that ended, or did not, because we told it to. */
function endedByUs(signal: AbortSignal): Outcome {
  return signal.reason.name === "TimeoutError"
    ? { kind: "failed", reason: "timeout" }
    : INTERRUPTED;
}
