/** A task that was sent here, and what has been heard of it. */
import type { Publisher } from "../../amqp/publisher.ts";
import { encodeBase64 } from "../../observe/base64.ts";
import type { TaskAnswer, TaskProgress } from "../../task/answer.ts";
import { optional } from "../../task/optional.ts";
import { hasUnusualNumbers } from "../../task/record_text.ts";

/**
 * - `sent`: confirmed, and nothing more will be heard of it here
 * - `waiting`: confirmed; no worker has said anything yet
 * - `running`: a worker has said that it began, or how far it is
 * - `done`, `dead`: the end
 */
export type TaskState = "sent" | "waiting" | "running" | "done" | "dead";

/** What is told of a task: members of its JSON. */
export type Facts = Readonly<Record<string, unknown>>;

export class KnownTask {
  readonly id: string;
  readonly queue: string;
  /** Of the request that it came with. */
  readonly fingerprint: string;
  /** Whether its answer comes here. */
  readonly isAwaited: boolean;
  /** What its answer bears. */
  readonly correlationId: string;
  readonly #ended = Promise.withResolvers<void>();
  #confirmed: Promise<void> = Promise.resolve();
  #state: TaskState = "waiting";
  #facts: Facts = {};
  /** Lets go of the channel on which its answer comes. */
  #release: () => void = () => {};
  #isConfirmed = false;
  /** No answer can come any more. */
  #isLost = false;
  #isForgotten = false;

  constructor(
    { id, queue, fingerprint, isAwaited, correlationId }: Pick<
      KnownTask,
      "id" | "queue" | "fingerprint" | "isAwaited" | "correlationId"
    >,
  ) {
    this.id = id;
    this.queue = queue;
    this.fingerprint = fingerprint;
    this.isAwaited = isAwaited;
    this.correlationId = correlationId;
  }

  get state(): TaskState {
    return this.#state;
  }

  /** Nothing more will be heard of it. */
  get hasEnded(): boolean {
    return this.#state === "done" || this.#state === "dead" || this.#state === "sent";
  }

  /** Resolves when nothing more will be heard of it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Resolves when the broker has confirmed it; rejects when it was not. */
  get confirmed(): Promise<void> {
    return this.#confirmed;
  }

  /** It is being sent. */
  sending(confirmed: Promise<void>): void {
    this.#confirmed = confirmed;
    confirmed.then(() => {
      this.#isConfirmed = true;
      if (!this.isAwaited) this.#end("sent", {});
      else this.#endIfLost();
    }, () => this.forget());
  }

  /** It is about to be published there, and its answer comes there. */
  on(publisher: Publisher): void {
    this.#release();
    this.#isLost = false;
    if (this.#isForgotten || this.hasEnded) return;
    this.#release = publisher.hold(() => {
      this.#isLost = true;
      this.#endIfLost();
    });
  }

  /** Its worker has said how far it is. */
  progress({ attempt, ...more }: TaskProgress): void {
    if (this.hasEnded) return;
    const before = this.#facts.progress as TaskProgress | undefined;
    const current = attempt ?? before?.attempt;
    this.#state = "running";
    // Without anything more, another attempt has begun.
    this.#facts = { progress: { ...(current === undefined ? {} : { attempt: current }), ...more } };
  }

  /** Its worker has said how it ended. */
  answer(answer: TaskAnswer): void {
    this.#end(answer.outcome, factsOf(answer));
  }

  /** Nobody can ask for it any more. */
  forget(): void {
    this.#isForgotten = true;
    this.#release();
  }

  /** As JSON has it. */
  describe(): Facts {
    return { id: this.id, queue: this.queue, state: this.#state, ...this.#facts };
  }

  #endIfLost(): void {
    if (!this.#isConfirmed || !this.#isLost) return;
    const detail = "the connection on which its answer would have come was lost";
    this.#end("sent", { detail });
  }

  #end(state: "sent" | "done" | "dead", facts: Facts): void {
    if (this.hasEnded) return;
    this.#state = state;
    this.#facts = facts;
    this.#release();
    this.#ended.resolve();
  }
}

function factsOf(answer: TaskAnswer): Facts {
  const { outcome, reason, error, exitCode, stderrTail, skipped } = answer;
  return {
    ...(outcome === "done" ? { answer: contentOf(answer) } : {}),
    ...optional("reason", reason),
    ...optional("error", error),
    ...optional("exit_code", exitCode),
    ...optional("stderr", stderrTail),
    ...optional("skipped", skipped),
  };
}

/** What the work gave, in the fields of a record. */
function contentOf({ body, contentType, cut }: TaskAnswer): Facts {
  const rest = { ...optional("content_type", contentType), ...(cut ? { cut } : {}) };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return { body_base64: encodeBase64(body), ...rest };
  }
  const isJson = /^application\/(?:[\w.+-]+\+)?json\b/i.test(contentType ?? "");
  if (!isJson || hasUnusualNumbers(text)) return { body: text, ...rest };
  try {
    return { json: JSON.parse(text), ...rest };
  } catch {
    return { body: text, ...rest };
  }
}
