/**
 * What a worker says to whoever waits for a task, as a message to the task's `reply_to`: how it
 * ended, once, and, where it was asked to, how far it is. Both ways are here, pure.
 *
 * The body of the last answer is what the work gave, as it is, so that any client understands it.
 */
import { EXIT, ToolError } from "../errors.ts";
import type { Answer } from "./handler.ts";
import { clip, type DeadReason, HEADER } from "./headers.ts";
import { optional } from "./optional.ts";
import { SHORT_STRING_BYTES, utf8Length } from "./short_string.ts";
import type { Field, Task, TaskProperties } from "./task.ts";

/** Headers of answers, beside those of dead letters that have the same names there. */
export const ANSWER_HEADER = {
  /** `done`, `dead` or `progress`. */
  kind: "task-answer",
  /** The task's id; text. */
  id: "task-id",
  /** There was more of it than an answer holds; true. */
  cut: "task-answer-cut",
  /** The task had been done before, on the same host, and what it gave is not known; true. */
  skipped: "task-skipped",
  /** Of a task: progress is wanted, too; true. */
  wantsProgress: "task-progress",
} as const;

/** How a task ended. */
export interface TaskAnswer {
  /** The task's id. */
  readonly id: string;
  /** Dead: it will not be tried again. */
  readonly outcome: "done" | "dead";
  /** What the work gave; of a dead task a sentence. */
  readonly body: Uint8Array;
  /** As the handler or the application said it. */
  readonly contentType?: string;
  /** There was more of the body, and only its first MiB came. */
  readonly cut: boolean;
  /** Exit status of the command, where there was one; of a task that is done 0 unless told. */
  readonly exitCode?: number;
  /** Why it is dead: `max-attempts`, `rejected`, `crash-loop`, `expired`. */
  readonly reason?: string;
  /** What went wrong last. */
  readonly error?: string;
  /** The end of what it wrote to stderr last; at most 4 KiB. */
  readonly stderrTail?: string;
  /** It had been done before on the same host, which does not know what it gave. */
  readonly skipped?: boolean;
}

/** How far a task is. Without `done` and `text`: an attempt began. */
export interface TaskProgress {
  /** 1 for the first. */
  readonly attempt?: number;
  /** How much of it is done. */
  readonly done?: number;
  /** Of how much, where that is known. */
  readonly total?: number;
  /** The same in words. */
  readonly text?: string;
}

/** A task that was waited for is dead. */
export class DeadTaskError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "DeadTaskError";
  /** Its `exitCode` is that of the task's command, or 1. */
  constructor(readonly answer: TaskAnswer) {
    super(`the task ${JSON.stringify(answer.id)} is ${deadSentence(answer)}`, statusOf(answer));
  }
}

/** The exit status that stands for an answer. */
export function statusOf({ outcome, exitCode = 0 }: TaskAnswer): number {
  return outcome === "dead" && exitCode === 0 ? EXIT.dead : exitCode;
}

/** A message for a task's `reply_to`. */
export interface AnswerMessage {
  readonly body: Uint8Array;
  readonly properties: TaskProperties;
}

/** Of a task that is done. */
export function doneMessage(task: Task, answer: Answer | undefined): AnswerMessage {
  const { body = NOTHING, contentType, cut, exitCode, error, skipped } = answer ?? {};
  return messageFor(task, "done", body, {
    ...(fits(contentType) ? { contentType } : {}),
    headers: {
      ...optional(ANSWER_HEADER.cut, cut || undefined),
      ...optional(ANSWER_HEADER.skipped, skipped || undefined),
      ...optional(HEADER.exitCode, exitCode),
      ...optional(HEADER.error, error),
    },
  });
}

/** Of a task that is dead. */
export function deadMessage(
  task: Task,
  { reason, attempts, failure }: {
    readonly reason: DeadReason;
    readonly attempts: number;
    readonly failure?: {
      readonly reason: string;
      readonly exitCode?: number;
      readonly stderrTail?: string;
    };
  },
): AnswerMessage {
  const error = failure && clip(failure.reason);
  const sentence = deadSentence({ reason, ...(error === undefined ? {} : { error }) });
  return messageFor(task, "dead", new TextEncoder().encode(sentence), {
    contentType: "text/plain",
    headers: {
      [HEADER.deadReason]: reason,
      [HEADER.attempt]: attempts,
      ...optional(HEADER.error, error),
      ...optional(HEADER.exitCode, failure?.exitCode),
      ...optional(HEADER.stderrTail, failure?.stderrTail || undefined),
    },
  });
}

/** The same without its body, which the broker refuses. */
export function withoutBody({ properties }: AnswerMessage, why: string): AnswerMessage {
  const { contentType: _of, ...rest } = properties;
  const error = clip(`the answer cannot be sent: ${why}`);
  const headers = { ...rest.headers, [ANSWER_HEADER.cut]: true, [HEADER.error]: error };
  return { body: NOTHING, properties: { ...rest, headers } };
}

/** How far a task is. */
export function progressMessage(task: Task, progress: TaskProgress): AnswerMessage {
  const { text } = progress;
  const body = JSON.stringify({ ...progress, ...(text === undefined ? {} : { text: clip(text) }) });
  return messageFor(task, "progress", new TextEncoder().encode(body), {
    contentType: "application/json",
  });
}

/** What came for one who waits. An answer of somebody else's worker is a body, and done. */
export function readAnswer(
  id: string,
  body: Uint8Array,
  properties: TaskProperties,
): { readonly last: TaskAnswer } | { readonly progress: TaskProgress } {
  const { headers = {}, contentType } = properties;
  const kind = headers[ANSWER_HEADER.kind];
  if (kind === "progress") return { progress: readProgress(body) };
  const exitCode = headers[HEADER.exitCode];
  return {
    last: {
      id,
      outcome: kind === "dead" ? "dead" : "done",
      body,
      cut: headers[ANSWER_HEADER.cut] === true,
      ...optional("contentType", contentType),
      ...optional("exitCode", isStatus(exitCode) ? exitCode : undefined),
      ...optional("reason", textOf(headers[HEADER.deadReason])),
      ...optional("error", textOf(headers[HEADER.error])),
      ...optional("stderrTail", textOf(headers[HEADER.stderrTail])),
      ...optional("skipped", headers[ANSWER_HEADER.skipped] === true ? true : undefined),
    },
  };
}

/** Somebody waits for the task's end. */
export function isAwaited({ properties }: Pick<Task, "properties">): boolean {
  return (properties.replyTo ?? "") !== "";
}

/** Somebody wants to know how far it is, too. */
export function wantsProgress({ properties }: Pick<Task, "properties">): boolean {
  return isAwaited({ properties }) && properties.headers?.[ANSWER_HEADER.wantsProgress] === true;
}

const NOTHING = new Uint8Array();

function messageFor(
  task: Task,
  kind: "done" | "dead" | "progress",
  body: Uint8Array,
  { headers, ...properties }: TaskProperties,
): AnswerMessage {
  return {
    body,
    properties: {
      ...properties,
      // The task is acknowledged after it: what is to keep it must not lose it.
      deliveryMode: kind === "progress" ? 1 : 2,
      // Of tasks that were sent without one the id has to do.
      correlationId: task.properties.correlationId ?? task.id,
      headers: { [ANSWER_HEADER.kind]: kind, [ANSWER_HEADER.id]: task.id, ...headers },
    },
  };
}

function deadSentence({ reason, error }: Pick<TaskAnswer, "reason" | "error">): string {
  return `dead (${reason ?? "no reason given"})${error === undefined ? "" : `: ${error}`}`;
}

function readProgress(body: Uint8Array): TaskProgress {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return {};
  }
  if (typeof value !== "object" || value === null) return {};
  const { attempt, done, total, text } = value as Record<string, unknown>;
  return {
    ...optional("attempt", typeof attempt === "number" ? attempt : undefined),
    ...optional("done", typeof done === "number" ? done : undefined),
    ...optional("total", typeof total === "number" ? total : undefined),
    ...optional("text", typeof text === "string" ? text : undefined),
  };
}

/** Into one of AMQP's short strings. */
function fits(text: string | undefined): text is string {
  return text !== undefined && utf8Length(text) <= SHORT_STRING_BYTES;
}

function isStatus(value: Field): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255;
}

function textOf(value: Field): string | undefined {
  return typeof value === "string" ? value : undefined;
}
