/** The handler that calls a function of the user's, from a module on disk or given directly. */
import { deadline } from "../time/deadline.ts";
import { EXIT, InputError, reason } from "../errors.ts";
import { formatDuration } from "../task/duration.ts";
import {
  DONE,
  type Handler,
  LONGEST_PAUSE_MS,
  type Outcome,
  type TaskContext,
} from "../task/handler.ts";
import { isAwaited } from "../task/answer.ts";
import { originalRoute } from "../task/headers.ts";
import type { Task } from "../task/task.ts";
import { answerOf } from "./answer.ts";

/** A task as a user's function sees it. */
export interface HandlerTask extends Task {
  /** The body; the same as `body`. */
  readonly bytes: Uint8Array;
  /** The body as UTF-8. @throws {TypeError} when it is none */
  text(): string;
  /** The body as JSON. @throws {SyntaxError} when it is none */
  json(): unknown;
}

/** What a user's function may use while it works. */
export interface HandlerContext extends TaskContext {
  /** Writes a line to the worker's log, with the task's id. */
  log(message: string): void;
  /** The same for how far the work is; who waits for the task and asked for it is told, too. */
  progress(done: number, total?: number): void;
}

/**
 * A user's function: whatever it returns, or its promise resolves to, the task is done, and that is
 * the answer to who waits for it: text, bytes, or what JSON can hold, of at most 1 MiB. An exception
 * is a failed attempt; a {@linkcode RejectTask} means that no attempt will work, and a
 * {@linkcode RetryTask} says when to try again.
 */
export type HandlerFunction = (task: HandlerTask, context: HandlerContext) => unknown;

/**
 * Thrown by a function: the task will never work and goes to the dead queue. Recognised by its
 * name, so that plain JavaScript without this library can throw
 * `Object.assign(new Error("bad order"), { name: "RejectTask" })`.
 */
export class RejectTask extends Error {
  /** What it is recognised by. */
  override readonly name = "RejectTask";
}

/** Thrown by a function: try again. Recognised by its name, as {@linkcode RejectTask} is. */
export class RetryTask extends Error {
  /** What it is recognised by. */
  override readonly name = "RetryTask";
  /** The pause in milliseconds, up to a hundred years; default the worker's backoff. */
  readonly delayMs: number | undefined;

  /** The message says why it failed this time. */
  constructor(message: string, options: ErrorOptions & { readonly delayMs?: number } = {}) {
    super(message, options);
    this.delayMs = options.delayMs;
  }
}

export interface FunctionHandlerOptions {
  /** Receives the lines of `log` and `progress`. */
  readonly log: (message: string, id: string) => void;
}

/** Makes a handler of a user's function. */
export function functionHandler(
  work: HandlerFunction,
  options: FunctionHandlerOptions,
): Handler {
  return async (task, context) => {
    try {
      const value = await work(
        new BodyReader(task),
        new FunctionContext(context, task.id, options.log),
      );
      return isAwaited(task) ? { kind: "done", answer: answerOf(value) } : DONE;
    } catch (error) {
      if (context.signal.aborted) throw error;
      return failureOf(error);
    }
  };
}

/**
 * Loads a module whose default export is a {@linkcode HandlerFunction}.
 *
 * @param path a file; TypeScript works under deno, a compiled binary takes JavaScript
 * @param limitMs how long its own awaits may take, in milliseconds
 * @throws {InputError} it cannot be loaded (66 missing, 65 anything else)
 */
export async function loadHandler(path: string, limitMs = 60_000): Promise<HandlerFunction> {
  const named = `the handler ${JSON.stringify(path)}`;
  let file: string;
  try {
    file = Deno.realPathSync(path);
  } catch (error) {
    throw new InputError(`${named} must be a file, and cannot be read: ${reason(error)}`);
  }
  let module: { default?: unknown };
  try {
    // The timer keeps a process with nothing else to do from ending in the middle of a line.
    module = await deadline(
      import(toFileUrl(file)),
      limitMs,
      () => new Error(`it must load within ${formatDuration(limitMs)}, and is still at it`),
    );
  } catch (error) {
    const hint = !/\.(?:[mc]?[jt]s|[jt]sx)$/.test(file)
      ? " (for another language: worker -- COMMAND)"
      : Deno.build.standalone && /\.[mc]?tsx?$/.test(file)
      ? " (a compiled worker takes JavaScript only)"
      : "";
    throw new InputError(
      `${named} must be a module that loads, and does not: ${
        withoutColours(messageOf(error))
      }${hint}`,
      EXIT.badData,
    );
  }
  if (typeof module.default === "function") return module.default as HandlerFunction;
  throw new InputError(
    `${named} must export a function as its default, and exports ${
      module.default === undefined ? "none" : typeof module.default
    }`,
    EXIT.badData,
  );
}

/**
 * A task with its body in the shapes that people want. What they get is theirs, made when they ask
 * for it: whatever they do to it (decoding in place, handing the buffer to another thread), a copy
 * for another attempt is of the task as it came.
 */
class BodyReader implements HandlerTask {
  readonly id: string;
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  readonly #task: Task;
  #body: Uint8Array | undefined;
  #properties: Task["properties"] | undefined;

  constructor(task: Task) {
    this.#task = task;
    this.id = task.id;
    this.queue = task.queue;
    ({ exchange: this.exchange, routingKey: this.routingKey } = originalRoute(task));
    this.redelivered = task.redelivered;
  }

  get body(): Uint8Array {
    return this.#body ??= this.#task.body.slice();
  }

  get bytes(): Uint8Array {
    return this.body;
  }

  get properties(): Task["properties"] {
    return this.#properties ??= structuredClone(this.#task.properties);
  }

  text(): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.#task.body);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** The context of the run with ways to say something; made for every task, so all is lazy. */
class FunctionContext implements HandlerContext {
  readonly #run: TaskContext;
  readonly #id: string;
  readonly #say: FunctionHandlerOptions["log"];

  constructor(run: TaskContext, id: string, say: FunctionHandlerOptions["log"]) {
    this.#run = run;
    this.#id = id;
    this.#say = say;
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get attempt(): number {
    return this.#run.attempt;
  }

  get maxAttempts(): number | undefined {
    return this.#run.maxAttempts;
  }

  get deadline(): number | undefined {
    return this.#run.deadline;
  }

  /** Bound, because functions take it out of the context; made when they do. */
  get log(): HandlerContext["log"] {
    return (message) => this.#say(String(message), this.#id);
  }

  get report(): HandlerContext["report"] {
    return this.#run.report;
  }

  get progress(): HandlerContext["progress"] {
    return (done, total) => {
      this.log(total === undefined ? `progress ${done}` : `progress ${done}/${total}`);
      this.#run.report?.({ done, ...(total === undefined ? {} : { total }) });
    };
  }
}

function failureOf(error: unknown): Outcome {
  const reason = messageOf(error);
  if (!(error instanceof Error)) return { kind: "failed", reason };
  const stderrTail = textOf(error.stack ?? reason).slice(0, 1_024).toWellFormed();
  if (error.name === "RejectTask") return { kind: "rejected", reason, stderrTail };
  const { delayMs } = error as { delayMs?: unknown };
  const asked = error.name === "RetryTask" && typeof delayMs === "number" && delayMs >= 0 &&
    delayMs <= LONGEST_PAUSE_MS;
  return { kind: "failed", reason, stderrTail, ...(asked ? { delayMs: Math.round(delayMs) } : {}) };
}

function messageOf(error: unknown): string {
  const message = textOf(error instanceof Error ? error.message : error);
  return message === "" && error instanceof Error ? textOf(error.name) : message;
}

/** Deno colours what it says about modules, for a terminal. */
function withoutColours(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[\d;]*m/g, "");
}

/** Anything can be thrown, and an error's own fields can be anything. */
function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "an error that is no text";
  }
}

function toFileUrl(file: string): string {
  const url = new URL("file:///");
  url.pathname = file.replaceAll("%", "%25").replaceAll("\\", "/");
  return url.href;
}
