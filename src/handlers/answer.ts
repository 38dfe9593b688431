/** What a handler has to say to whoever waits for a task. */
import { concat } from "@std/bytes/concat";
import { reason } from "../errors.ts";
import { type Answer, MAX_ANSWER_BYTES } from "../task/handler.ts";
import { clip } from "../task/headers.ts";

/** Keeps the beginning of a stream, as much as an answer holds. */
export class AnswerHead {
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #cut = false;

  /** @param chunk is copied */
  push(chunk: Uint8Array): void {
    const room = MAX_ANSWER_BYTES - this.#size;
    if (chunk.length > room) this.#cut = true;
    if (room === 0) return;
    const part = chunk.slice(0, room);
    this.#chunks.push(part);
    this.#size += part.length;
  }

  answer(): Answer {
    const body = concat(this.#chunks);
    return { body, cut: this.#cut, contentType: typeOf(body, this.#cut) };
  }
}

/** The answer that a function's return value is: text, bytes, or anything that JSON can hold. */
export function answerOf(value: unknown): Answer {
  if (value === undefined) return { body: new Uint8Array(), cut: false };
  if (value instanceof Uint8Array) return head(value, "application/octet-stream");
  if (value instanceof ArrayBuffer) return answerOf(new Uint8Array(value));
  if (typeof value === "string") return head(new TextEncoder().encode(value), "text/plain");
  try {
    const text = JSON.stringify(value);
    if (text !== undefined) return head(new TextEncoder().encode(text), "application/json");
    throw new TypeError(`it is a ${typeof value}`);
  } catch (error) {
    const why = `what the function returned cannot be sent: ${reason(error)}`;
    return { body: new Uint8Array(), cut: true, error: clip(why) };
  }
}

/** @param bytes are copied: whoever gave them may write to them */
function head(bytes: Uint8Array, contentType: string): Answer {
  const cut = bytes.length > MAX_ANSWER_BYTES;
  return { body: bytes.slice(0, MAX_ANSWER_BYTES), contentType, cut };
}

/** @param cut the last character may be a part of one */
function typeOf(bytes: Uint8Array, cut: boolean): string {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: cut });
    return "text/plain";
  } catch {
    return "application/octet-stream";
  }
}
