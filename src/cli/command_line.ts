/** Reads a command line by its table of flags. */
import { parseArgs } from "@std/cli/parse-args";
import { UsageError } from "../errors.ts";
import { type Flags, oneOf, type Values } from "./flags.ts";

/** The option that names files of options. */
const CONFIG = "config";

/** What a command line says. */
export interface CommandLine<F extends Flags> {
  readonly values: Values<F>;
  /** What is not an option, in order. */
  readonly words: string[];
  /** Names of the flags that the command line or a file of --config gave (not the environment). */
  readonly given: ReadonlySet<string>;
  /** "--" was there; what followed it is at the end of `words`. */
  readonly separated: boolean;
}

/**
 * Reads a command line, and the files that it names with --config.
 *
 * @param options.stopEarly the first word ends the options, as for a tool that runs a command
 * @throws {UsageError} one sentence, with a suggestion for a misspelt option
 * @throws {InputError} a file of --config cannot be read
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
  const parsed: Record<string, unknown> = unambiguous.options.length === 0
    ? {}
    : parseArgs(unambiguous.options, {
      string: names,
      collect: names,
      unknown: (arg, key) => {
        unknown ??= key === undefined ? undefined : arg;
        return false;
      },
    });
  unknown ??= unambiguous.unknown;
  if (unknown !== undefined) {
    const { unknownOption } = await import("./suggest.ts");
    throw new UsageError(unknownOption(unknown, flags));
  }
  const paths = parsed[CONFIG] as string[] | undefined ?? [];
  const settings = paths.length === 0
    ? undefined
    : await (await import("./config_file.ts")).readSettings(paths, flags);
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [name, flag] of Object.entries(flags)) {
    const texts = parsed[name] as string[] | undefined ?? [];
    if (texts.some(isGarbled)) throw new UsageError(garbled(`--${name}`));
    const setting = texts.length > 0 ? { texts, source: `--${name}` } : settings?.get(name);
    if (setting !== undefined) {
      if (name !== CONFIG) given.add(name);
      values[name] = flag.parse(setting.texts, setting.source);
      continue;
    }
    const inherited = flag.env === undefined || unambiguous.alone ? undefined : env(flag.env);
    values[name] = inherited ? flag.parse([inherited], flag.env!) : flag.fallback();
  }
  for (const name of given) checkOthers(name, flags, values, given);
  return {
    values: values as Values<F>,
    words: unambiguous.words,
    given,
    separated: unambiguous.separated,
  };
}

/** @throws {UsageError} an option that was given says nothing with the others */
function checkOthers(
  name: string,
  flags: Flags,
  values: Readonly<Record<string, unknown>>,
  given: ReadonlySet<string>,
): void {
  const { needs, excludes } = flags[name]!;
  const contrary = excludes?.find((other) => given.has(other));
  if (contrary !== undefined) {
    throw new UsageError(`one of --${name} and --${contrary} can be had, and both were given`);
  }
  if (needs === undefined || needs.some((other) => isSet(values[other]))) return;
  const options = needs.map((other) => `--${other}`);
  const missing = options.length === 1 ? "it is not given" : "none is given";
  throw new UsageError(`--${name} needs ${oneOf(options)}, and ${missing}`);
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== false;
}

/** Deno puts U+FFFD where an argument is not UTF-8; the bytes themselves are gone. */
export function isGarbled(text: string): boolean {
  return text.includes("\ufffd");
}

/** What to say of an argument that is garbled. */
export function garbled(what: string): string {
  return `${what} must be UTF-8 without U+FFFD, and is not`;
}

/** An option as it stands in an argument. */
interface Option {
  readonly name: string;
  /** What follows it in the same argument. */
  readonly text?: string | undefined;
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
    const found = arg.startsWith("--") ? longOption(flags, arg) : shortOptions(flags, arg);
    if (found === undefined) unknown ??= arg.split("=", 1)[0]!;
    for (const { name, text } of found ?? []) {
      const flag = flags[name]!;
      let given = text;
      if (flag.topics) {
        given ??= args[i + 1]?.startsWith("-") === false ? args[++i] : undefined;
      } else if (flag.value === undefined) {
        if (text !== undefined) throw new UsageError(`--${name} is a switch and takes no value`);
      } else {
        given ??= valueAfter(name, flag.value, args[++i]);
      }
      const option = given === undefined ? `--${name}` : `--${name}=${given}`;
      if (flag.alone) {
        return { options: [option], words: [], unknown: undefined, separated: false, alone: true };
      }
      options.push(option);
    }
  }
  return { options, words, unknown, separated: false, alone: false };
}

/** @throws {UsageError} there is none, or what may be another option */
function valueAfter(name: string, placeholder: string, next: string | undefined): string {
  if (next !== undefined && !/^-./s.test(next)) return next;
  throw new UsageError(
    `--${name} needs a value (${placeholder})${
      next === undefined ? "" : `; one that begins with "-" is written --${name}=${next}`
    }`,
  );
}

/** "--name" or "--name=text". */
function longOption(flags: Flags, arg: string): [Option] | undefined {
  const [name] = arg.slice(2).split("=", 1) as [string];
  if (!Object.hasOwn(flags, name)) return undefined;
  return [{ name, text: arg.includes("=") ? arg.slice(name.length + 3) : undefined }];
}

/** "-n text", "-ntext", "-n=text", and switches in one, "-ab". */
function shortOptions(flags: Flags, arg: string): Option[] | undefined {
  const letters = arg.slice(1);
  const [bare] = letters.split("=", 1) as [string];
  // One hyphen too few: nobody means the queue "ueue".
  if (bare.length > 1 && Object.hasOwn(flags, bare)) return undefined;
  const found: Option[] = [];
  for (let i = 0; i < letters.length; i++) {
    const flag = Object.entries(flags).find(([, { short }]) => short === letters[i]);
    if (flag === undefined) return undefined;
    const [name, { value }] = flag;
    const rest = letters.slice(i + 1);
    if (value === undefined && !rest.startsWith("=")) {
      found.push({ name });
      continue;
    }
    found.push({ name, text: rest === "" ? undefined : rest.replace(/^=/, "") });
    break;
  }
  return found;
}
