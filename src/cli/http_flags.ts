/** The options by which `new_task` takes tasks over HTTP. */
import { UsageError } from "../errors.ts";
import type { ListenAddress } from "../observe/http.ts";
import { CONNECTION_FLAGS, QUEUE_FLAGS } from "./connection_flags.ts";
import { duration, list, size, text, type Values } from "./flags.ts";
import { TOOL_FLAGS } from "./general_flags.ts";
import { listenAddress } from "./listen_address.ts";

export const HTTP_FLAGS = {
  http: listenAddress({
    group: "http",
    help: "take tasks over HTTP, and go on until ended; from this machine only without a HOST",
  }),
  "token-file": text({
    group: "http",
    value: "FILE",
    minBytes: 1,
    help: "bearer token that requests must have, or several, a line each; read again when the " +
      "file changes",
  }),
  cors: list({
    group: "http",
    value: "ORIGIN",
    help: "the pages of this origin may ask, such as https://app.example.org; * is all, and " +
      "needs --token-file",
    parseOne: parseOrigin,
  }),
  "answers-ttl": duration({
    group: "http",
    default: "1h",
    min: 1,
    help: "how long it is told what became of a task",
  }),
  "max-body": size({ group: "http", min: 1, help: "of a request with --http (default 16M)" }),
};

/** For the help page. */
export const HTTP_HELP: readonly [string, string] = [
  "HTTP",
  `  POST /tasks takes the body as the task, with application/json a record, with
  application/x-ndjson a record on each line; what they do not say is in the query (?queue=mails)
  or in headers (Task-Queue: mails). It answers 202 when the broker has confirmed the task, or, with
  "Prefer: wait=10", 200 when it has ended by then; Idempotency-Key is its id. GET /tasks/ID tells
  what became of it; /openapi.json describes all. On anything but this machine --token-file is
  required. Options of a task are refused here: requests say what a task is; --timeout is each
  task's. The first Ctrl-C or SIGTERM answers what has come, and ends with 0.`,
];

const DEFAULT_MAX_BODY = 16 * 1024 * 1024;
/** A body is in memory, some times over. */
const LARGEST_MAX_BODY = 48 * 1024 * 1024;

/** How tasks are taken over HTTP. */
export interface HttpInput {
  readonly address: ListenAddress;
  readonly tokenFile: string | undefined;
  readonly origins: readonly string[];
  readonly answersTtlMs: number;
  readonly maxBodyBytes: number;
}

/** What goes with --http, of all options of new_task. */
const COMPATIBLE: ReadonlySet<string> = new Set([
  ...[HTTP_FLAGS, CONNECTION_FLAGS, QUEUE_FLAGS, TOOL_FLAGS].flatMap(Object.keys),
  ...["timeout", "quiet"],
]);

/**
 * @param given names of the options on the command line
 * @returns undefined: nothing is taken over HTTP
 * @throws {UsageError}
 */
export function readHttpInput(
  values: Values<typeof HTTP_FLAGS>,
  given: ReadonlySet<string>,
  words: readonly string[],
): HttpInput | undefined {
  const { http: address, cors: origins } = values;
  if (address === undefined) {
    const stray = Object.keys(HTTP_FLAGS).find((name) => given.has(name));
    if (stray === undefined) return undefined;
    throw new UsageError(`--${stray} needs --http`);
  }
  const foreign = [...given].find((name) => !COMPATIBLE.has(name));
  if (foreign !== undefined || words.length > 0) {
    const what = foreign === undefined ? "words were" : `--${foreign} was`;
    throw new UsageError(`with --http the tasks come in requests, and ${what} given`);
  }
  const maxBodyBytes = values["max-body"] ?? DEFAULT_MAX_BODY;
  if (maxBodyBytes > LARGEST_MAX_BODY) {
    throw new UsageError(
      `--max-body must be at most ${LARGEST_MAX_BODY} bytes (48M), and is ${maxBodyBytes}`,
    );
  }
  const tokenFile = values["token-file"];
  if (origins.includes("*") && tokenFile === undefined) {
    throw new UsageError("--cors * needs --token-file, and has none");
  }
  return { address, tokenFile, origins, answersTtlMs: values["answers-ttl"], maxBodyBytes };
}

/** @throws {UsageError} */
function parseOrigin(given: string, source: string): string {
  const origin = given.toLowerCase();
  if (origin === "*" || (URL.canParse(origin) && new URL(origin).origin === origin)) return origin;
  throw new UsageError(
    `${source} must be an origin such as https://app.example.org, or *, and is ` +
      JSON.stringify(given),
  );
}
