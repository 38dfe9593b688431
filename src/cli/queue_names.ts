/** The one way in which all tools name queues: `NAME[=PART][,NAME[=PART]]...`. */
import { UsageError } from "../errors.ts";
import { MAX_QUEUE_NAME_BYTES, queueNameFault } from "../task/topology.ts";
import type { Flag } from "./flags.ts";

/** A queue as the command line or the environment names it. */
export interface QueueShare {
  readonly name: string;
  /** Its part of the concurrency, in proportion to those of the others; at least 1. */
  readonly weight: number;
}

/** That of the tutorial. */
export const DEFAULT_QUEUE = "task_queue";

/** Where the name comes from when --queue is not given, and what it is when that is not set. */
const ORIGIN = { short: "q", env: "WORK_QUEUE", shown: DEFAULT_QUEUE };

/** For the help pages. */
export const QUEUE_NAMES_HELP: readonly [string, string] = [
  "Queue names",
  `  All tools read names alike: NAME[=PART],NAME[=PART]... In a name "," "=" and "\\" are written
  "\\," "\\=" and "\\\\". Where several are taken, --queue a --queue b is --queue a,b. Parts are
  for a worker, and refused where one queue is wanted.`,
];

/** --queue of a tool that works on several. */
export const queues: Flag<readonly QueueShare[]> = {
  group: "queue",
  ...ORIGIN,
  value: "NAME[,NAME]",
  help: "work queue, or several that share the concurrency; NAME=3 takes a triple part",
  fallback: () => [{ name: ORIGIN.shown, weight: 1 }],
  parse: (texts, source) =>
    parseQueues(texts, source).map(({ name, weight = 1 }) => ({
      name,
      weight,
    })),
};

/** --queue of a tool that has to do with several, and no concurrency to share out among them. */
export const queueList: Flag<readonly QueueShare[]> = {
  ...queues,
  help: "work queue, or several; parts, which are a worker's, change nothing here",
};

/** --queue of a tool that has to do with one. */
export const queue: Flag<string> = {
  group: "queue",
  ...ORIGIN,
  value: "NAME",
  help: "work queue",
  fallback: () => ORIGIN.shown,
  parse: (texts, source) => oneQueue(namedQueues.parse(texts, source)),
};

/** Queues without parts of a worker's concurrency, and how they were given. */
export interface NamedQueues {
  readonly names: readonly [string, ...string[]];
  readonly given: string;
  readonly source: string;
}

/** --queue of a tool that sends to one, or serves several to others. */
export const namedQueues: Flag<NamedQueues> = {
  group: "queue",
  ...ORIGIN,
  value: "NAME",
  help: "work queue; with --http several, of which the first is for tasks that name none",
  fallback: () => ({ names: [ORIGIN.shown], given: ORIGIN.shown, source: "the default queue" }),
  parse: (texts, source) => {
    const queues = parseQueues(texts, source);
    const given = texts.join(",");
    if (queues.some(({ weight }) => weight !== undefined)) throw notOne(given, source);
    return { names: queues.map(({ name }) => name) as [string, ...string[]], given, source };
  },
};

/** @throws {UsageError} there are several */
export function oneQueue({ names, given, source }: NamedQueues): string {
  if (names.length > 1) throw notOne(given, source);
  return names[0];
}

function notOne(given: string, source: string): UsageError {
  return new UsageError(
    `${source} must name one queue here, without a part of a worker's concurrency, and is ` +
      `${JSON.stringify(given)}; in a name "," and "=" are written "\\," and "\\="`,
  );
}

/** A text as it stands in a list: a name, and what follows its "=" if there is one. */
interface Item {
  name: string;
  part?: string;
}

/** A queue as it was given. */
interface Given {
  name: string;
  weight?: number;
}

/** @throws {UsageError} */
function parseQueues(texts: readonly string[], source: string): Given[] {
  const shares = texts.flatMap((text) => parseList(text, source));
  if (new Set(shares.map(({ name }) => name)).size < shares.length) {
    const given = JSON.stringify(texts.join(","));
    throw new UsageError(`${source} needs different names, and is ${given}`);
  }
  return shares;
}

/** @throws {UsageError} */
function parseList(given: string, source: string): Given[] {
  return split(given, source).map(({ name, part }) => {
    const fault = queueNameFault(name, MAX_QUEUE_NAME_BYTES);
    if (fault !== undefined) throw new UsageError(`${source} must have names ${fault}`);
    if (part === undefined) return { name };
    if (/^\d{1,5}$/.test(part) && Number(part) >= 1) return { name, weight: Number(part) };
    throw new UsageError(
      `${source} must have a part from 1 to 99999 behind "=", and is ${JSON.stringify(given)}; ` +
        'in a name "=" is written "\\="',
    );
  });
}

/** Splits at the commas and the equals signs that no backslash takes for the name. */
function split(given: string, source: string): Item[] {
  // A long expression takes 0.1 ms of a process's start to compile.
  if (![",", "=", "\\"].some((mark) => given.includes(mark))) return [{ name: given }];
  const items: Item[] = [{ name: "" }];
  for (const [piece] of given.matchAll(/\\.?|[,=]|[^\\,=]+/gsu)) {
    const item = items.at(-1)!;
    if (piece === ",") {
      items.push({ name: "" });
    } else if (piece === "=" && item.part === undefined) {
      item.part = "";
    } else {
      const text = piece.startsWith("\\") ? unescape(piece, given, source) : piece;
      if (item.part === undefined) item.name += text;
      else item.part += text;
    }
  }
  return items;
}

/** @throws {UsageError} */
function unescape(piece: string, given: string, source: string): string {
  if (/^\\[\\,=]$/.test(piece)) return piece.slice(1);
  throw new UsageError(
    `${source} must have "\\" in a name written "\\\\", and is ${JSON.stringify(given)}`,
  );
}
