/** Manual pages in man(7), from the tables of the flags. */
import type { Flag } from "../../src/cli/flags.ts";
import { GROUPS } from "../../src/cli/groups.ts";
import { COMMAND_VARIABLES, variablesOf } from "../../src/cli/help/environment.ts";
import { blocksOf } from "../../src/cli/help/layout.ts";
import type { HelpPage } from "../../src/cli/help/page.ts";
import { flagsOf, groupsOf, meaningOf } from "../../src/cli/help/render.ts";

/** What stands in the head and the foot of a page. */
export interface Edition {
  readonly version: string;
  /** "2026-11-28" */
  readonly date: string;
  /** Names of all pages, "worker-dead". */
  readonly names: readonly string[];
}

/** The name of a page's file without its section: "worker-dead". */
export function manName({ name }: HelpPage): string {
  return name.replaceAll(" ", "-");
}

export function renderMan(page: HelpPage, { version, date, names }: Edition): string {
  const name = manName(page);
  const others = names.filter((other) => other !== name).sort();
  return [
    `.TH ${name.toUpperCase()} 1 ${date} "workqueue ${version}" "User Commands"`,
    ".SH NAME",
    `${escaped(name)} \\- ${escaped(page.summary)}`,
    ".SH SYNOPSIS",
    ".nf",
    ...page.usage.map((line) => `\\fB${escaped(line)}\\fR`),
    ".fi",
    ".SH DESCRIPTION",
    ...text(page.about),
    ...subcommands(page),
    ".SH OPTIONS",
    ...groupsOf(page).flatMap((group) => [
      `.SS ${GROUPS[group]}`,
      ...flagsOf(page, group).flatMap(([option, flag]) =>
        term(spelling(option, flag), meaningOf(flag))
      ),
    ]),
    ".SH ENVIRONMENT",
    ...variablesOf(page).flatMap(([variable, meaning]) => term(bold(variable), meaning)),
    ...(page.words !== "command" ? [] : [
      '.SH "ENVIRONMENT OF COMMANDS"',
      ...COMMAND_VARIABLES.flatMap(([variable, meaning]) => term(bold(variable), meaning)),
    ]),
    ...(page.sections ?? []).flatMap(([title, body]) => [
      `.SH ${quoted(title.toUpperCase())}`,
      ...blocksOf(body).flatMap((block, i) =>
        "text" in block
          ? [...(i === 0 ? [] : [".PP"]), ...text(block.text)]
          : block.rows.flatMap(([head, meaning]) => term(bold(head), meaning))
      ),
    ]),
    ".SH EXAMPLES",
    ...page.examples.flatMap(([purpose, command], i) => [
      ...(i === 0 ? [] : [".PP"]),
      ...text(purpose),
      ".PP",
      ".RS 4",
      ".nf",
      bold(command),
      ".fi",
      ".RE",
    ]),
    ".SH SEE ALSO",
    others.map((other) => `.BR ${escaped(other)} (1)`).join(",\n"),
    "",
  ].join("\n");
}

function subcommands({ name, commands = {}, actions = {} }: HelpPage): string[] {
  const rows = [
    ...Object.entries(commands).map(([word, { summary }]) =>
      term(bold(`${name} ${word}`), summary)
    ),
    ...Object.entries(actions).map(([word, meaning]) => term(bold(`${name} ${word}`), meaning)),
  ];
  return rows.length === 0 ? [] : [".SH SUBCOMMANDS", ...rows.flat()];
}

function spelling(option: string, { short, value }: Flag<unknown>): string {
  const letter = short === undefined ? "" : `${bold(`-${short}`)}, `;
  return `${letter}${bold(`--${option}`)}${
    value === undefined ? "" : ` \\fI${escaped(value)}\\fR`
  }`;
}

/** A term, and what it means. */
function term(head: string, meaning: string): string[] {
  return [".TP", head, ...(meaning === "" ? ["\\&"] : text(meaning))];
}

function bold(words: string): string {
  return `\\fB${escaped(words)}\\fR`;
}

/** A paragraph, a line of the source for each sentence. */
function text(paragraph: string): string[] {
  const sentences = paragraph.replace(/\s+/g, " ").replace(/([.!?]) (?=[A-Z])/g, "$1\n");
  return sentences.split("\n").flatMap((sentence) => wrapped(escaped(sentence)));
}

/** Lines of at most 78 characters, as the source of manual pages has them. */
function wrapped(sentence: string): string[] {
  const lines: string[] = [];
  for (const word of sentence.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > 78) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  // A line that begins with a dot or an apostrophe would be a request.
  return lines.map((line) => line.replace(/^[.']/, "\\&$&"));
}

function escaped(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti").replaceAll("`", "\\(ga").replace(/^[.']/, "\\&$&");
}

function quoted(title: string): string {
  return title.includes(" ") ? `"${title}"` : title;
}
