/** The options of an input that holds many tasks. */
import { UsageError } from "../errors.ts";
import { integer, text, toggle, type Values } from "./flags.ts";

export const BULK_FLAGS = {
  lines: toggle({
    group: "input",
    short: "l",
    help: "every line of the file or of stdin is a task; empty ones are left out, ids get the " +
      "line's number",
  }),
  null: toggle({
    group: "input",
    short: "0",
    help: "the same with NUL at the end of each task, as of find -print0",
  }),
  ndjson: toggle({
    group: "input",
    help: "every line is a record, which is a task as JSON; what it does not say, options do",
  }),
  files: toggle({
    group: "input",
    help: "the words name files, each of them a task; its name is in the header task-file",
  }),
  skip: integer({
    group: "input",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: "leave out so many lines, records or files at the beginning, to go on after an early end",
  }),
  rejects: text({
    group: "input",
    value: "FILE",
    minBytes: 1,
    help: "what is no task, or is refused by the broker as such, does not end the rest; it is " +
      "added to this file, as a line of JSON with its place, the reason and itself",
  }),
};

/** For the help page. */
export const BULK_HELP: readonly [string, string] = [
  "Many tasks",
  `  A record is a JSON object: body (text), body_base64 or json (any value), and any of id, queue,
  priority, headers, content_type, content_encoding, type, correlation_id, reply_to, expiration,
  delay and at. Options stand in for what it does not say. A thousand tasks, or 16 MiB, are on
  their way at a time. The first Ctrl-C, SIGTERM or SIGHUP takes no more and waits for the
  confirms, the second ends at once. Every early end says how many tasks are confirmed, and the
  --skip from which to go on: with --id they then have the same ids as without the end.`,
];

export type BulkKind = "lines" | "null" | "ndjson" | "files";

const KINDS: readonly BulkKind[] = ["lines", "null", "ndjson", "files"];

/** Where many tasks come from. */
export interface BulkInput {
  readonly kind: BulkKind;
  /** Of the files, or of the one with all tasks in it; "-" is stdin. */
  readonly paths: readonly string[];
  readonly skip: number;
  readonly rejects: string | undefined;
}

/**
 * @param words without the "-" that is stdin
 * @param file of --file
 * @returns undefined: there is one task
 * @throws {UsageError}
 */
export function readBulkInput(
  values: Values<typeof BULK_FLAGS>,
  words: readonly string[],
  file: string | undefined,
): BulkInput | undefined {
  const { skip, rejects } = values;
  const [kind, other] = KINDS.filter((name) => values[name]);
  if (kind === undefined) {
    const given = skip !== undefined ? "--skip" : rejects !== undefined ? "--rejects" : undefined;
    if (given === undefined) return undefined;
    throw new UsageError(`${given} needs one of --lines, --null, --ndjson and --files`);
  }
  if (other !== undefined) {
    throw new UsageError(`one of --${kind} and --${other} can be had, and both were given`);
  }
  const input = { kind, skip: skip ?? 0, rejects };
  if (kind !== "files") {
    if (words.length === 0) return { ...input, paths: [file ?? "-"] };
    throw new UsageError(
      `with --${kind} the tasks come from --file or stdin, and words were given`,
    );
  }
  if (file !== undefined) {
    throw new UsageError("with --files the words name the files, and --file was given");
  }
  if (words.length === 0) throw new UsageError("--files needs the names of files, and has none");
  // To whoever opens it, "-" is stdin.
  return { ...input, paths: words.map((word) => word === "-" ? "./-" : word) };
}
