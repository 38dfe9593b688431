/**
 * Files of options, one a line: `--name value`, `-n value`, `name value` or `name = value`, and a
 * switch by its name alone. The value is the rest of the line, as it is; one in double quotes is read as a JSON
 * string, one in single quotes has none inside. Lines that begin with "#" are comments.
 */
import { EXIT, InputError, reason, UsageError } from "../errors.ts";
import type { Flag, Flags } from "./flags.ts";
import { didYouMean } from "./suggest.ts";

/** A file that is larger is another one. */
const MOST_BYTES = 1024 * 1024;

/** What one file says of one option. */
export interface Setting {
  readonly texts: readonly string[];
  /** For errors: "FILE:3: --queue". */
  readonly source: string;
}

/**
 * Reads files of options. What a later one says of an option replaces what those before it say.
 *
 * @returns by the name of the option
 * @throws {InputError} a file is missing (66) or no text (65)
 * @throws {UsageError} a line is wrong; the sentence begins with file and line
 */
export async function readSettings(
  paths: readonly string[],
  flags: Flags,
): Promise<Map<string, Setting>> {
  const settings = new Map<string, Setting>();
  for (const path of paths) {
    for (const [name, setting] of settingsIn(await readLines(path), path, flags)) {
      settings.set(name, setting);
    }
  }
  return settings;
}

function settingsIn(
  lines: readonly string[],
  path: string,
  flags: Flags,
): Map<string, Setting> {
  const found = new Map<string, Setting>();
  for (const [i, line] of lines.entries()) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const place = `${path}:${i + 1}`;
    const [, hyphens, word = "", rest = ""] = /^(--?)?([^\s=]+)(.*)$/s.exec(text) ?? [];
    const name = hyphens === "-" ? nameOf(word, flags) : word;
    const flag = Object.hasOwn(flags, name) ? flags[name]! : undefined;
    if (flag === undefined) throw new UsageError(`${place} ${unknownName(name, flags)}`);
    if (flag.alone || name === "config") {
      throw new UsageError(`${place}: --${name} is for the command line, and stands in a file`);
    }
    const source = `${place}: --${name}`;
    const value = valueIn(flag, rest, source);
    flag.parse([value], source); // a mistake is told with its own line
    const before = flag.repeatable ? found.get(name)?.texts ?? [] : [];
    found.set(name, { texts: [...before, value], source });
  }
  return found;
}

/** The name of the option with this letter, or "". */
function nameOf(letter: string, flags: Flags): string {
  return Object.entries(flags).find(([, { short }]) => short === letter)?.[0] ?? "";
}

/** @param rest what follows the name: " value", " = value" or "=value" */
function valueIn(flag: Flag<unknown>, rest: string, source: string): string {
  const text = rest.replace(/^\s*=?\s*/, "");
  if (flag.value === undefined) {
    if (rest === "") return "";
    throw new UsageError(`${source} is a switch and takes no value`);
  }
  if (rest === "") throw new UsageError(`${source} needs a value (${flag.value})`);
  const quote = /^["']/.exec(text)?.[0];
  if (quote !== undefined) return unquoted(text, quote, source);
  if (!/\s#/.test(text)) return text;
  throw new UsageError(
    `${source} has a "#" behind a space: a comment has a line of its own, and a value with it ` +
      "stands in quotes",
  );
}

function unquoted(text: string, quote: string, source: string): string {
  const inside = text.slice(1, -1);
  if (text.length >= 2 && text.endsWith(quote)) {
    if (quote === "'" && !inside.includes("'")) return inside;
    try {
      if (quote === '"') return JSON.parse(text) as string;
    } catch {
      // Told below.
    }
  }
  throw new UsageError(
    `${source} has a value that begins with a quote: the whole of it must be in quotes, "..." as ` +
      "JSON has it or '...' without another ' inside",
  );
}

/** What stands there may be a secret in the wrong place, and is not repeated. */
function unknownName(given: string, flags: Flags): string {
  return "must begin with the name of an option, and does not" +
    (didYouMean(given, Object.keys(flags)) || "; --help all lists them");
}

/** @throws {InputError} */
async function readLines(path: string): Promise<string[]> {
  const what = `the options file ${JSON.stringify(path)}`;
  let bytes: Uint8Array;
  try {
    bytes = await readUpTo(path, MOST_BYTES + 1);
  } catch (error) {
    throw new InputError(`cannot read ${what}: ${reason(error)}`, EXIT.noInput, { cause: error });
  }
  if (bytes.length > MOST_BYTES) {
    throw new InputError(`${what} must have at most ${MOST_BYTES} bytes`, EXIT.badData);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).split(/\r?\n/);
  } catch (error) {
    throw new InputError(`${what} must be UTF-8, and is not`, EXIT.badData, { cause: error });
  }
}

/** Endless files end, too. */
async function readUpTo(path: string, most: number): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(most);
  let used = 0;
  while (used < most) {
    const n = await file.read(bytes.subarray(used));
    if (n === null) break;
    used += n;
  }
  return bytes.slice(0, used);
}
