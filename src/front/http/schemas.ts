/** Records and tasks as JSON Schema 2020-12, for the OpenAPI document. */
import { SHORT_STRING_BYTES } from "../../task/short_string.ts";

/** At most 255 bytes; JSON Schema counts characters. */
const SHORT = { type: "string", maxLength: SHORT_STRING_BYTES };
const DURATION = { type: ["number", "string"], minimum: 0 };

/** The grammar of records, as far as JSON Schema can say it. */
export const RECORD_SCHEMA = {
  type: "object",
  description: "A task.",
  properties: {
    body: { type: "string", description: "Text." },
    body_base64: { type: "string", contentEncoding: "base64", description: "Bytes." },
    json: { description: "Any value." },
    id: { ...SHORT, minLength: 1, description: "The message id; default a random UUID." },
    queue: { ...SHORT, minLength: 1, description: "One of those that are served." },
    priority: {
      type: "integer",
      minimum: 0,
      maximum: 255,
      description: "For queues that have priorities.",
    },
    headers: { type: "object", description: "Headers of the task." },
    content_type: { ...SHORT, description: "Instead of the one that follows from the body." },
    content_encoding: { ...SHORT, description: "Such as gzip." },
    type: { ...SHORT, description: "What kind of work it is." },
    correlation_id: { ...SHORT, description: "What an answer bears." },
    reply_to: { ...SHORT, description: "The queue for its answer, instead of this server." },
    expiration: {
      ...DURATION,
      description: "Milliseconds, or a time such as 30s: dropped when not begun by then.",
    },
    delay: { ...DURATION, description: "Seconds, or a time such as 90s: not to be run before." },
    at: { type: "string", format: "date-time", description: "Not to be run before." },
  },
  oneOf: [{ required: ["body"] }, { required: ["body_base64"] }, { required: ["json"] }],
  additionalProperties: false,
};

/** A task that was sent here. */
export const TASK_SCHEMA = {
  type: "object",
  required: ["id", "queue", "state"],
  properties: {
    id: { type: "string" },
    queue: { type: "string" },
    state: {
      type: "string",
      enum: ["sent", "waiting", "running", "done", "dead"],
      description: "sent: confirmed, and nothing more will be heard of it here.",
    },
    progress: {
      type: "object",
      description: "Of a task that runs, as far as its worker told.",
      properties: {
        attempt: { type: "integer", minimum: 1 },
        done: { type: "number" },
        total: { type: "number" },
        text: { type: "string" },
      },
      additionalProperties: false,
    },
    answer: {
      type: "object",
      description: "What the work of a task that is done gave.",
      properties: {
        body: { type: "string", description: "Text." },
        body_base64: { type: "string", contentEncoding: "base64", description: "Other bytes." },
        json: { description: "A value, of application/json." },
        content_type: { type: "string" },
        cut: { type: "boolean", description: "There was more." },
      },
      oneOf: [{ required: ["body"] }, { required: ["body_base64"] }, { required: ["json"] }],
      additionalProperties: false,
    },
    reason: {
      type: "string",
      description: "Why a task is dead: max-attempts, rejected, crash-loop or expired.",
    },
    error: { type: "string", description: "What went wrong last." },
    exit_code: { type: "integer", description: "Of its command." },
    stderr: { type: "string", description: "The end of what it wrote there last." },
    skipped: {
      type: "boolean",
      description: "It had been done before, and what it gave is not known any more.",
    },
    detail: { type: "string", description: "Why nothing more will be heard of it." },
  },
  additionalProperties: false,
};
