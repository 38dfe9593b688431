/**
 * Flags as data: one declaration gives the option's name, its environment variable, its default,
 * its line in `--help` and the type of its value.
 */
import { parseArgs } from "@std/cli/parse-args";
import { UsageError } from "../errors.ts";
import { formatDuration, parseDuration } from "../task/duration.ts";

/** One option of a binary. `T` is the type of its value after parsing. */
export interface Flag<T> {
  /** What stands for the value in the help, "NAME"; absent for a switch. */
  readonly value?: string;
  readonly help: string;
  /** Environment variable that stands in when the option is not given; "" counts as not given. */
  readonly env?: string;
  /** Shown in the help; the value itself is in `fallback`. */
  readonly shown?: string;
  /** The option may be given several times; `parse` sees each text. */
  readonly repeatable?: boolean;
  /** When given, nothing else is looked at, neither on the command line nor in the environment. */
  readonly alone?: boolean;
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

interface Described {
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
      const bytes = new TextEncoder().encode(given).length;
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

/** An option with a size in bytes, as systemd writes them: "300M" is 300 times 1024 squared. */
export function size(spec: Described & { min: number }): Flag<number | undefined> {
  return {
    ...base(spec),
    value: spec.value ?? "SIZE",
    fallback: () => undefined,
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const [, digits, unit] = /^(\d{1,12})([KMG]?)$/i.exec(given) ?? [];
      const bytes = Number(digits ?? NaN) * 1_024 ** " KMG".indexOf((unit || " ").toUpperCase());
      if (bytes >= spec.min) return bytes;
      throw new UsageError(
        `${source} must be a number of bytes such as 300M or 1G of at least ${spec.min}, and is ${
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
export function toggle(spec: { help: string; alone?: boolean }): Flag<boolean> {
  return { ...spec, fallback: () => false, parse: () => true };
}

/** What a command line says. */
export interface CommandLine<F extends Flags> {
  readonly values: Values<F>;
  /** What is not an option, in order. */
  readonly words: string[];
  /** Names of the flags that the command line itself gave (not the environment). */
  readonly given: ReadonlySet<string>;
  /** "--" was there; what followed it is at the end of `words`. */
  readonly separated: boolean;
}

/**
 * Reads a command line.
 *
 * @param options.stopEarly the first word ends the options, as for a tool that runs a command
 * @throws {UsageError} one sentence, with a suggestion for a misspelt option
 */
export async function parseCommandLine<F extends Flags>(
  flags: F,
  args: readonly string[],
  env: (name: string) => string | undefined,
  options: { stopEarly?: boolean } = {},
): Promise<CommandLine<F>> {
  const unambiguous = joinValues(flags, args, options.stopEarly ?? false);
  let unknown: string | undefined;
  const names = Object.keys(flags);
  const parsed = parseArgs(unambiguous.options, {
    string: names,
    collect: names,
    unknown: (arg, key) => {
      unknown ??= key === undefined ? undefined : arg;
      return false;
    },
  });
  unknown ??= unambiguous.unknown;
  if (unknown !== undefined) throw new UsageError(await unknownOption(unknown, names));

  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [name, flag] of Object.entries(flags)) {
    const texts = parsed[name] as string[] | undefined;
    if (texts !== undefined && texts.length > 0) {
      given.add(name);
      if (texts.some(isGarbled)) throw new UsageError(garbled(`--${name}`));
      values[name] = flag.parse(texts, `--${name}`);
      continue;
    }
    const inherited = flag.env === undefined || unambiguous.alone ? undefined : env(flag.env);
    values[name] = inherited ? flag.parse([inherited], flag.env!) : flag.fallback();
  }
  return {
    values: values as Values<F>,
    words: unambiguous.words,
    given,
    separated: unambiguous.separated,
  };
}

/** Deno puts U+FFFD where an argument is not UTF-8; the bytes themselves are gone. */
export function isGarbled(text: string): boolean {
  return text.includes("\ufffd");
}

/** What to say of an argument that is garbled. */
export function garbled(what: string): string {
  return `${what} must be UTF-8 without U+FFFD, and is not`;
}

/** What `--help` prints. */
export interface HelpPage {
  readonly usage: readonly string[];
  readonly about: string;
  readonly flags: Flags;
  /** Paragraphs after the options: [title, lines]. */
  readonly sections?: readonly (readonly [string, string])[];
}

/** Renders a help page, at most 100 columns wide where the texts allow it. */
export function renderHelp(page: HelpPage): string {
  const rows = Object.entries(page.flags).map(([name, flag]) => [
    `  ${name === "help" ? "-h, " : ""}--${name}${
      flag.value === undefined ? "" : ` ${flag.value}`
    }`,
    flag.help + origin(flag),
  ]);
  const width = 26;
  const options = rows.flatMap(([left, right]) => {
    const lines = wrap(right!, 100 - width - 1);
    const first = left!.length < width ? `${left!.padEnd(width)} ${lines.shift()}` : left!;
    return [first, ...lines.map((line) => `${"".padEnd(width)} ${line}`)];
  });
  const usage = page.usage.map((line, i) => `${i === 0 ? "Usage: " : "       "}${line}`);
  const sections = (page.sections ?? []).flatMap(([title, body]) => ["", `${title}:`, body]);
  return [...usage, "", page.about, "", "Options:", ...options, ...sections, ""].join("\n");
}

function base(spec: Described): { help: string; value: string; env?: string } {
  return {
    help: spec.help,
    value: spec.value ?? "TEXT",
    ...(spec.env === undefined ? {} : { env: spec.env }),
  };
}

function origin(flag: Flag<unknown>): string {
  const facts = [
    flag.repeatable ? "repeatable" : "",
    flag.env === undefined ? "" : `env ${flag.env}`,
    flag.shown === undefined ? "" : `default ${flag.shown}`,
  ].filter((fact) => fact !== "");
  return facts.length === 0 ? "" : ` (${facts.join(", ")})`;
}

function wrap(paragraph: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of paragraph.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/**
 * Separates options from words and writes every option as `--name=value`, the one form in which
 * parseArgs neither takes a word for a value ("--quiet true") nor a value for an option.
 */
function joinValues(flags: Flags, args: readonly string[], stopEarly: boolean) {
  const options: string[] = [];
  const words: string[] = [];
  let unknown: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") {
      words.push(...args.slice(i + 1));
      return { options, words, unknown, separated: true, alone: false };
    }
    if (arg === "-" || !arg.startsWith("-")) {
      words.push(arg);
      if (!stopEarly) continue;
      words.push(...args.slice(i + 1));
      break;
    }
    const name = arg === "-h" ? "help" : arg.slice(2).split("=", 1)[0]!;
    const flag = arg === "-h" || arg.startsWith("--") && Object.hasOwn(flags, name)
      ? flags[name]
      : undefined;
    if (flag === undefined) {
      unknown ??= arg.split("=", 1)[0]!;
    } else if (flag.value === undefined) {
      if (arg.includes("=")) throw new UsageError(`--${name} is a switch and takes no value`);
      if (flag.alone) {
        return {
          options: [`--${name}`],
          words: [],
          unknown: undefined,
          separated: false,
          alone: true,
        };
      }
      options.push(`--${name}`);
    } else if (arg.includes("=")) {
      options.push(arg);
    } else {
      const value = args[++i];
      if (value === undefined || (value.startsWith("-") && value !== "-")) {
        throw new UsageError(
          `--${name} needs a value (${flag.value})${
            value === undefined ? "" : `; one that begins with "-" is written --${name}=${value}`
          }`,
        );
      }
      options.push(`--${name}=${value}`);
    }
  }
  return { options, words, unknown, separated: false, alone: false };
}

async function unknownOption(given: string, names: readonly string[]): Promise<string> {
  const { closestString } = await import("@std/text/closest-string");
  const { levenshteinDistance } = await import("@std/text/levenshtein-distance");
  const short = { "-V": "version", "-v": "version" }[given];
  if (short !== undefined && names.includes(short)) {
    return `the option ${JSON.stringify(given)} is not known; did you mean --${short}?`;
  }
  const bare = given.replace(/^-+/, "");
  const nearest = closestString(bare, names);
  const near = levenshteinDistance(bare, nearest) <= Math.max(1, Math.floor(nearest.length / 3)) ||
    [...bare].sort().join("") === [...nearest].sort().join("");
  const hint = near ? `; did you mean --${nearest}?` : "; --help lists them";
  return `the option ${JSON.stringify(given)} is not known${hint}`;
}

function oneOf(choices: readonly string[]): string {
  return choices.length === 1
    ? choices[0]!
    : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}
