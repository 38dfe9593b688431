/** The handler that posts each task to a web application, and takes the status for the outcome. */
import type { createHmac } from "node:crypto";
import { reason, UsageError } from "../errors.ts";
import {
  DONE,
  type Handler,
  MAX_ANSWER_BYTES,
  type Outcome,
  type TaskContext,
} from "../task/handler.ts";
import type { Task } from "../task/task.ts";
import { type HttpAnswer, type HttpClient, openHttpClient, type TlsFiles } from "./http_client.ts";
import { headerValue, taskHeaders } from "./post_headers.ts";
import { PostTarget } from "./post_target.ts";
import { parseRetryAfter } from "./retry_after.ts";
import { SecretFile } from "./secret_file.ts";
import { parseKeys, signatureHeaders } from "./signature.ts";

export interface PostOptions {
  /** `http://`, `https://` or `unix:SOCKET:/PATH`, with `{queue}` and `{type}`. */
  readonly url: string;
  readonly tls?: TlsFiles;
  /** File with a bearer token. */
  readonly tokenFile?: string;
  /** File with keys that sign each request. */
  readonly secretFile?: string;
  /** "worker/1.2.3". */
  readonly userAgent: string;
  /** Told what goes wrong beside the task itself. */
  readonly warn: (message: string) => void;
}

/** Of an answer that says what is wrong. */
const MAX_REASON_BYTES = 4_096;
/** Longest line of it that is the reason itself, in UTF-16 code units. */
const MAX_REASON_LINE = 200;

/** Statuses of the client's own fault that are not: timeout, conflict, too early, too many. */
const WORTH_ANOTHER_TRY: ReadonlySet<number> = new Set([408, 409, 425, 429]);
/** With Retry-After they say that the task has not been tried. */
const NOT_NOW: ReadonlySet<number> = new Set([429, 503]);
/** What counts as no attempt has no end, and must not be asked again without a pause. */
const SHORTEST_SNOOZE_MS = 1_000;

/** Posts tasks. Build it once: that checks the URL and reads the files. */
export class PostHandler implements Disposable {
  readonly #options: PostOptions;
  readonly #target: PostTarget;
  readonly #client: HttpClient;
  readonly #token: SecretFile<string> | undefined;
  readonly #keys: SecretFile<readonly Uint8Array[]> | undefined;
  readonly #hmac: typeof createHmac | undefined;

  private constructor(
    options: PostOptions,
    target: PostTarget,
    client: HttpClient,
    hmac: typeof createHmac | undefined,
  ) {
    const { tokenFile, secretFile, warn } = options;
    this.#options = options;
    this.#target = target;
    this.#client = client;
    this.#hmac = hmac;
    if (tokenFile !== undefined) {
      this.#token = new SecretFile(tokenFile, "the token file", parseToken, warn);
    }
    if (secretFile !== undefined) {
      this.#keys = new SecretFile(secretFile, "the secret file", parseKeys, warn);
    }
  }

  /** @throws {UsageError | InputError} */
  static async open(options: PostOptions): Promise<PostHandler> {
    const target = new PostTarget(options.url, "--post");
    const { tls = {} } = options;
    if (Object.keys(tls).length > 0 && !target.secure) {
      throw new UsageError("--post must be https:// for certificates, and is not");
    }
    if ((tls.cert === undefined) !== (tls.key === undefined)) {
      throw new UsageError("a client certificate needs its key: --post-cert and --post-key");
    }
    const client = await openHttpClient(target, tls);
    try {
      const { createHmac } = options.secretFile === undefined
        ? { createHmac: undefined }
        : await import("node:crypto");
      return new PostHandler(options, target, client, createHmac);
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /** The handler. Requests may overlap. */
  readonly handle: Handler = async (task, context) => {
    const { signal } = context;
    const path = this.#target.pathFor(task);
    if (path === undefined) {
      return { kind: "rejected", reason: "its queue or type would make the URL another one" };
    }
    let answer: HttpAnswer | undefined;
    try {
      answer = await this.#client.post(path, this.#headers(task, context), task.body, signal);
      return await outcomeOf(answer, (task.properties.replyTo ?? "") !== "");
    } catch (error) {
      if (signal.aborted) throw error;
      const what = answer === undefined ? "no answer" : `status ${answer.status}, cut off`;
      return { kind: "failed", reason: `${what}: ${causeOf(error)}` };
    }
  };

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  #headers(task: Task, context: TaskContext): Record<string, string> {
    const headers: Record<string, string> = {
      ...taskHeaders(task, context),
      "user-agent": this.#options.userAgent,
      accept: "*/*",
      "accept-encoding": "identity",
    };
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token.get()}`;
    if (this.#keys === undefined) return headers;
    const id = headerValue(task.id) || crypto.randomUUID();
    const seconds = Math.floor(Date.now() / 1_000);
    const keys = this.#keys.get();
    return { ...headers, ...signatureHeaders(this.#hmac!, keys, id, seconds, task.body) };
  }
}

/** @param awaited somebody waits for the answer */
async function outcomeOf(answer: HttpAnswer, awaited: boolean): Promise<Outcome> {
  const { status } = answer;
  if (status >= 200 && status <= 299) {
    const { bytes, cut } = await answer.read(MAX_ANSWER_BYTES);
    if (!awaited) return DONE;
    const type = answer.header("content-type");
    const contentType = type === null ? {} : { contentType: type };
    return { kind: "done", answer: { body: bytes, ...contentType, cut } };
  }
  const { bytes } = await answer.read(MAX_REASON_BYTES);
  const moved = status >= 300 && status <= 399 ? " (redirects are not followed)" : "";
  const failure = {
    reason: `status ${status}${moved}${firstLine(bytes)}`,
    stderrTail: clipped(bytes),
  };
  if (status >= 400 && status <= 499 && !WORTH_ANOTHER_TRY.has(status)) {
    return { kind: "rejected", ...failure };
  }
  const delayMs = parseRetryAfter(answer.header("retry-after"), answer.header("date"), Date.now());
  if (delayMs === undefined) return { kind: "failed", ...failure };
  return NOT_NOW.has(status)
    ? { kind: "snoozed", delayMs: Math.max(delayMs, SHORTEST_SNOOZE_MS) }
    : { kind: "failed", ...failure, delayMs };
}

/** A line that says more than the status, where the answer has one. */
function firstLine(bytes: Uint8Array): string {
  const line = clipped(bytes).trimStart().split(/[\r\n]/, 1)[0]!.trimEnd();
  return line === "" ? "" : `: ${line.slice(0, MAX_REASON_LINE).toWellFormed()}`;
}

/** As text that has no more bytes than the answer, whatever it holds. */
function clipped(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes, { stream: true });
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(MAX_REASON_BYTES));
  return text.slice(0, read);
}

/** @throws {Error} the end of a sentence */
function parseToken(lines: readonly string[]): string {
  const [token = ""] = lines;
  if (lines.length === 1 && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new Error("must hold one line of visible ASCII, and does not");
}

/** Why no answer came, without the URL, which may hold a secret. */
function causeOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  const words = reason(cause instanceof Error ? cause : error);
  // No URL has a blank in it.
  return words.replace(/^error sending request .*? client error \(\w+\): /, "");
}
