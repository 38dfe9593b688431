/** `new_task --wait`: sends a task and prints what its worker answers. */
import type { Connector } from "../amqp/connection.ts";
import { EXIT, ToolError } from "../errors.ts";
import { Calls } from "../front/calls.ts";
import { type Defaults, outgoingOf } from "../front/outgoing.ts";
import { escapeControls } from "../observe/log.ts";
import { DeadTaskError, statusOf, type TaskAnswer, type TaskProgress } from "../task/answer.ts";
import type { Host } from "./main.ts";
import { onSignals } from "./signals.ts";
import type { WaitOptions } from "./wait_flags.ts";

export interface WaitOrder {
  readonly wait: WaitOptions;
  readonly defaults: Defaults;
  readonly id: string;
  readonly body: Uint8Array;
  /** From the sending to the confirm, in milliseconds. */
  readonly timeoutMs: number;
  readonly quiet: boolean;
}

/**
 * @returns the exit status that the answer stands for
 * @throws {ToolError} it was not sent, or no answer came
 */
export async function waitForAnswer(
  host: Host,
  connector: Connector,
  { wait, defaults, id, body, timeoutMs, quiet }: WaitOrder,
): Promise<number> {
  const task = outgoingOf({ body, properties: {} }, defaults, { id, now: Date.now() });
  const calls = new Calls({ connector, timeoutMs });
  const ended = new AbortController();
  let status: number = EXIT.temporary;
  const signals = onSignals({
    end: (of) => {
      status = of;
      ended.abort(new Error("ended by a signal"));
    },
  });
  const showing = wait.progress ? showProgress(host) : undefined;
  try {
    await calls.prepare(defaults.queue);
    const answer = await calls.call(task, {
      timeout: wait.answerMs,
      signal: ended.signal,
      ...(showing === undefined ? {} : { onProgress: showing.show }),
    });
    showing?.end();
    report(host, answer, quiet);
    return statusOf(answer);
  } catch (error) {
    showing?.end();
    if (!ended.signal.aborted || !(error instanceof ToolError)) throw error;
    throw new ToolError(error.message, status, { cause: error });
  } finally {
    signals.dispose();
    await calls.close();
  }
}

function report(host: Host, answer: TaskAnswer, quiet: boolean): void {
  if (answer.outcome === "dead") {
    host.complain(`${host.name}: ${escapeControls(new DeadTaskError(answer).message)}\n`);
    const tail = answer.stderrTail?.trimEnd() ?? "";
    if (tail === "" || quiet) return;
    for (const line of tail.split("\n")) host.complain(`${escapeControls(line)}\n`);
    return;
  }
  host.print(answer.body);
  const faults = [
    ...(answer.error === undefined ? [] : [answer.error]),
    ...(answer.cut && answer.error === undefined
      ? ["the answer is longer than 1 MiB, and its end is cut off"]
      : []),
    ...(answer.skipped ? ["the task had been done before, and nobody knows its answer"] : []),
  ];
  for (const fault of faults) host.complain(`${host.name}: ${escapeControls(fault)}\n`);
}

/** How far a task is, in words. */
export function describeProgress({ attempt, done, total, text }: TaskProgress): string {
  if (text !== undefined) return text;
  if (done === undefined) return attempt === undefined ? "runs" : `attempt ${attempt} runs`;
  if (total === undefined) return String(done);
  return total > 0 ? `${done}/${total} (${Math.floor(done / total * 100)} %)` : `${done}/${total}`;
}

/** A line that is written over on a terminal, and a line for each message elsewhere. */
function showProgress(host: Host): { show(progress: TaskProgress): void; end(): void } {
  const isTerminal = Deno.stderr.isTerminal() && !Deno.noColor;
  let shown = false;
  return {
    show(progress) {
      const words = escapeControls(describeProgress(progress));
      host.complain(isTerminal ? `\r\x1b[K${words.slice(0, 79)}` : `${host.name}: ${words}\n`);
      shown = isTerminal;
    },
    end() {
      if (shown) host.complain("\r\x1b[K");
    },
  };
}
