/** What a shell can know of the value of an option. */
import type { Flag } from "../flags.ts";
import type { HelpPage } from "./page.ts";

export type Hint =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "file" | "folder" | "unknown" };

/** Follows from how the value is called in the help: "PATH", "DIR", "quorum|classic". */
export function hintOf({ value = "" }: Flag<unknown>): Hint {
  if (value === "PATH" || value === "FILE") return { kind: "file" };
  if (value === "DIR") return { kind: "folder" };
  // Of "prefix|file:DIR" the shell can give "prefix" and "file:".
  const words = value.split("|").map((word) => word.replace(/[A-Z]+$/, ""));
  if (words.length > 1 && words.every((word) => /^[a-z_]+:?$/.test(word))) {
    return { kind: "words", words };
  }
  return { kind: "unknown" };
}

/** The words that may come first: subcommands and actions, with what they do. */
export function firstWordsOf({ commands = {}, actions = {} }: HelpPage): [string, string][] {
  return [
    ...Object.entries(commands).map(([name, { summary }]): [string, string] => [name, summary]),
    ...Object.entries(actions),
  ];
}

/** How an option can be written. */
export function spellingsOf(name: string, { short }: Flag<unknown>): string[] {
  return short === undefined ? [`--${name}`] : [`-${short}`, `--${name}`];
}

/** "PAGE OPTION" of every option with a value. */
export function valued(page: HelpPage): string[] {
  return Object.entries(page.flags).flatMap(([option, flag]) =>
    flag.value === undefined
      ? []
      : spellingsOf(option, flag).map((spelling) => `${page.name} ${spelling}`)
  );
}

/** As a word of a POSIX shell, whatever is in it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
