/**
 * Flags as data: one declaration gives the option's name, its environment variable, its default,
 * its line in `--help` and the type of its value.
 */
import { UsageError } from "../errors.ts";
import { formatDuration, parseDuration } from "../task/duration.ts";
import { utf8Length } from "../task/short_string.ts";
import { formatSize, parseSize } from "./byte_size.ts";
import type { Group } from "./groups.ts";

/** One option of a binary. `T` is the type of its value after parsing. */
export interface Flag<T> {
  /** What it is about. */
  readonly group: Group;
  /** The letter of its short form, "q" for -q. */
  readonly short?: string;
  /** What stands for the value in the help, "NAME"; absent for a switch. */
  readonly value?: string;
  readonly help: string;
  /** Environment variable that stands in when the option is not given; "" counts as not given. */
  readonly env?: string;
  /** Shown in the help; the value itself is in `fallback`. */
  readonly shown?: string;
  /** The option may be given several times; `parse` sees each text. */
  readonly repeatable?: boolean;
  /** It says nothing unless one of these options does. */
  readonly needs?: readonly string[];
  /** Options that say the contrary. */
  readonly excludes?: readonly string[];
  /** When given, nothing else is looked at, neither on the command line nor in the environment. */
  readonly alone?: boolean;
  /** A switch behind which a word may stand that says of what. */
  readonly topics?: boolean;
  /** Value when neither the command line nor the environment gives one. */
  readonly fallback: () => T;
  /**
   * @param texts what was given, in order; never empty; [""] for a switch
   * @param source how to name the origin in an error: "--timeout" or "AMQP_URL"
   * @throws {UsageError}
   */
  readonly parse: (texts: readonly string[], source: string) => T;
}

/** Timers hold at most 2^31 - 1 ms: 24 days and a bit. */
const LONGEST_DURATION_MS = 24 * 86_400_000;

// deno-lint-ignore no-explicit-any
export type Flags = Record<string, Flag<any>>;

/** The values of a set of flags, by flag name. */
export type Values<F extends Flags> = { [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

interface Described extends Pick<Flag<unknown>, "needs" | "excludes"> {
  group: Group;
  short?: string;
  help: string;
  value?: string;
  env?: string;
}

interface TextBounds {
  /** Bounds in bytes of UTF-8; AMQP's short strings hold at most 255. */
  minBytes?: number;
  maxBytes?: number;
}

/** An option with a text value. */
export function text(spec: Described & TextBounds & { default: string }): Flag<string>;
export function text(spec: Described & TextBounds): Flag<string | undefined>;
export function text(
  spec: Described & TextBounds & { default?: string },
): Flag<string | undefined> {
  return {
    ...base(spec),
    ...(spec.default === undefined ? {} : { shown: spec.default }),
    fallback: () => spec.default,
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const bytes = utf8Length(given);
      const { minBytes = 0, maxBytes = Infinity } = spec;
      if (bytes >= minBytes && bytes <= maxBytes) return given;
      const bounds = maxBytes === Infinity
        ? `at least ${minBytes} ${minBytes === 1 ? "byte" : "bytes"}`
        : `${minBytes} to ${maxBytes} bytes`;
      throw new UsageError(`${source} must have ${bounds}, and has ${bytes}`);
    },
  };
}

/** An option with one of a few values. */
export function choice<const C extends string>(
  spec: Described & { choices: readonly C[]; shown?: string },
): Flag<C | undefined>;
export function choice<const C extends string>(
  spec: Described & { choices: readonly C[]; default: C },
): Flag<C>;
export function choice<const C extends string>(
  spec: Described & { choices: readonly C[]; default?: C; shown?: string },
): Flag<C | undefined> {
  const shown = spec.default ?? spec.shown;
  return {
    ...base(spec),
    value: spec.value ?? spec.choices.join("|"),
    ...(shown === undefined ? {} : { shown }),
    fallback: () => spec.default,
    parse: (texts, source) => {
      const given = texts.at(-1) as C;
      if (spec.choices.includes(given)) return given;
      throw new UsageError(
        `${source} must be ${oneOf(spec.choices)}, and is ${JSON.stringify(given)}`,
      );
    },
  };
}

/** An option with a whole number. */
export function integer(
  spec: Described & { min: number; max: number; default: number },
): Flag<number>;
export function integer(
  spec: Described & { min: number; max: number },
): Flag<number | undefined>;
export function integer(
  spec: Described & { min: number; max: number; default?: number },
): Flag<number | undefined> {
  return {
    ...base(spec),
    value: spec.value ?? "N",
    ...(spec.default === undefined ? {} : { shown: String(spec.default) }),
    fallback: () => spec.default,
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const number = Number(given);
      if (/^\d+$/.test(given) && number >= spec.min && number <= spec.max) return number;
      throw new UsageError(
        `${source} must be a whole number from ${spec.min} to ${spec.max}, and is ${
          JSON.stringify(given)
        }`,
      );
    },
  };
}

/** An option with a size ("300M", "2G"; a bare number is bytes), in bytes. */
export function size(
  spec: Described & { min: number; max?: number; default: number },
): Flag<number>;
export function size(
  spec: Described & { min: number; max?: number },
): Flag<number | undefined>;
export function size(
  spec: Described & { min: number; max?: number; default?: number },
): Flag<number | undefined> {
  return {
    ...base(spec),
    value: spec.value ?? "SIZE",
    ...(spec.default === undefined ? {} : { shown: formatSize(spec.default) }),
    fallback: () => spec.default,
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const bytes = parseSize(given);
      const { min, max = Infinity } = spec;
      if (bytes !== undefined && bytes >= min && bytes <= max) return bytes;
      const bounds = max === Infinity
        ? `of at least ${formatSize(min)}`
        : `from ${formatSize(min)} to ${formatSize(max)}`;
      throw new UsageError(
        `${source} must be a size such as 65536, 300M or 1G, ${bounds}, and is ${
          JSON.stringify(given)
        }`,
      );
    },
  };
}

/** An option with a duration ("500ms", "5s", "25m"; a bare number is seconds), in milliseconds. */
export function duration(
  spec: Described & { default: string; min?: number; max?: number },
): Flag<number>;
export function duration(
  spec: Described & { min?: number; max?: number },
): Flag<number | undefined>;
export function duration(
  spec: Described & { default?: string; min?: number; max?: number },
): Flag<number | undefined> {
  return {
    ...base(spec),
    value: spec.value ?? "TIME",
    ...(spec.default === undefined ? {} : { shown: spec.default }),
    fallback: () => spec.default === undefined ? undefined : parseDuration(spec.default),
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const ms = parseDuration(given);
      const { min = 0, max = LONGEST_DURATION_MS } = spec;
      if (ms !== undefined && ms >= min && ms <= max) return ms;
      throw new UsageError(
        `${source} must be a time such as 500ms, 5s or 25m, from ${formatDuration(min)} to ${
          formatDuration(max)
        }, and is ${JSON.stringify(given)}`,
      );
    },
  };
}

/** A repeatable option; `parseOne` turns each text into a value. */
export function list<T>(
  spec: Described & { parseOne: (text: string, source: string) => T },
): Flag<T[]> {
  return {
    ...base(spec),
    repeatable: true,
    fallback: () => [],
    parse: (texts, source) => texts.map((text) => spec.parseOne(text, source)),
  };
}

/** A switch: present or not. */
export function toggle(
  spec: Pick<Flag<boolean>, "group" | "short" | "help" | "alone" | "needs" | "excludes">,
): Flag<boolean> {
  return { ...spec, fallback: () => false, parse: () => true };
}

type Base =
  & Pick<Flag<unknown>, "group" | "short" | "help" | "env" | "needs" | "excludes">
  & { readonly value: string };

function base(spec: Described): Base {
  return {
    group: spec.group,
    ...(spec.short === undefined ? {} : { short: spec.short }),
    help: spec.help,
    value: spec.value ?? "TEXT",
    ...(spec.env === undefined ? {} : { env: spec.env }),
    ...(spec.needs === undefined ? {} : { needs: spec.needs }),
    ...(spec.excludes === undefined ? {} : { excludes: spec.excludes }),
  };
}

/** "a", "a or b", "a, b or c". */
export function oneOf(choices: readonly string[]): string {
  return choices.length === 1
    ? choices[0]!
    : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}
