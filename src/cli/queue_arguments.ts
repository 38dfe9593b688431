/** --queue-arg: what a queue that does not exist yet is created with. */
import { UsageError } from "../errors.ts";
import { SHORT_STRING_BYTES, utf8Length } from "../task/short_string.ts";
import type { Field } from "../task/task.ts";
import { list } from "./flags.ts";

/** The range of a 64-bit integer that a number can hold. */
const WHOLE = /^-?\d{1,15}$/;

/** [key, value] pairs. */
export const queueArguments = list<readonly [string, Field]>({
  group: "queue",
  value: "KEY[:TYPE]=VALUE",
  help:
    "argument for a queue that does not exist yet, such as x-max-priority=5; an existing one must " +
    "have it; TYPE is int, bool or string, or else what VALUE looks like",
  parseOne: (given, source) => {
    const match = /^([^=]+?)(?::(int|bool|string))?=(.*)$/s.exec(given);
    const [, key, type, text] = match as [string, string, string?, string?] | null ?? [];
    // No broker has an argument with a colon: what stands behind it is a type, misspelt.
    const value = key === undefined || /^x-.*:/s.test(key) || utf8Length(key) > SHORT_STRING_BYTES
      ? undefined
      : valueOf(text!, type);
    if (key === "x-queue-type") {
      throw new UsageError(`${source} must not be x-queue-type, which is given by --queue-type`);
    }
    if (value !== undefined) return [key!, value];
    throw new UsageError(
      `${source} must be KEY=VALUE, KEY:int=VALUE, KEY:bool=VALUE or KEY:string=VALUE, with a key ` +
        `of 1 to 255 bytes and a value of that type, and is ${JSON.stringify(given)}`,
    );
  },
});

/** undefined: not of that type. */
function valueOf(text: string, type: string | undefined): Field | undefined {
  if (type !== "string" && type !== "bool" && WHOLE.test(text)) return Number(text);
  if (type !== "string" && type !== "int" && /^(true|false)$/.test(text)) return text === "true";
  return type === undefined || type === "string" ? text : undefined;
}

/**
 * The arguments as a table.
 *
 * @param type of the queue, when it has to be created
 * @throws {UsageError} given twice, or not for that type
 */
export function argumentTable(
  pairs: readonly (readonly [string, Field])[],
  type: string,
): Readonly<Record<string, Field>> {
  const table = Object.fromEntries(pairs);
  if (Object.keys(table).length < pairs.length) {
    throw new UsageError("--queue-arg must give each argument once, and gives one twice");
  }
  if (type === "quorum" && "x-max-priority" in table) {
    throw new UsageError(
      "a queue with x-max-priority must be classic, and would be quorum: --queue-type classic",
    );
  }
  if ("x-deduplication-header" in table) {
    throw new UsageError(
      "duplicates must be told by the header x-deduplication-header, which a worker leaves out of " +
        "what it tries again; with another one that would be dropped",
    );
  }
  return table;
}
