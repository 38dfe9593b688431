/** `--help` as text. */
import { UsageError } from "../../errors.ts";
import type { Flag } from "../flags.ts";
import { BRIEF } from "../general_flags.ts";
import { type Group, GROUPS } from "../groups.ts";
import { didYouMean } from "../suggest.ts";
import { COMMAND_VARIABLES, variablesOf } from "./environment.ts";
import { blocksOf, type Paper, paragraph, type Row, table } from "./layout.ts";
import type { HelpPage } from "./page.ts";

/**
 * Renders a page of help.
 *
 * @param topic BRIEF: what most need; "all"; a group; or an action, which the page is about
 * @throws {UsageError} there is no such topic
 */
export function renderHelp(page: HelpPage, topic: string, paper: Paper): string {
  if (topic === BRIEF || Object.hasOwn(page.actions ?? {}, topic)) return brief(page, paper);
  if (topic === "all") return whole(page, paper);
  const group = groupsOf(page).find((name) => name === topic);
  if (group === undefined) {
    const topics = topicsOf(page);
    throw new UsageError(
      `--help knows ${topics.join(", ")}, and was given ${JSON.stringify(topic)}` +
        didYouMean(topic, topics),
    );
  }
  return joined([...usage(page, paper), ...options(page, [group], paper)]);
}

/** The groups of a page's options, in order. */
export function groupsOf({ flags }: HelpPage): Group[] {
  const present = new Set(Object.values(flags).map(({ group }) => group));
  return (Object.keys(GROUPS) as Group[]).filter((group) => present.has(group));
}

/** What may stand behind --help. */
export function topicsOf(page: HelpPage): string[] {
  return ["all", ...groupsOf(page), ...Object.keys({ ...page.commands, ...page.actions })];
}

/** A page's options of a group: name and flag. */
export function flagsOf({ flags }: HelpPage, group: Group): [string, Flag<unknown>][] {
  return Object.entries(flags).filter(([, flag]) => flag.group === group);
}

/** What to say of an option: its help, and where its value comes from. */
export function meaningOf(flag: Flag<unknown>): string {
  const facts = [
    flag.repeatable ? "repeatable" : "",
    flag.env === undefined ? "" : `env ${flag.env}`,
    flag.shown === undefined ? "" : `default ${flag.shown}`,
  ].filter((fact) => fact !== "");
  return facts.length === 0 ? flag.help : `${flag.help} (${facts.join(", ")})`;
}

function brief(page: HelpPage, paper: Paper): string {
  const names = page.essential ?? Object.keys(page.flags);
  const rows = names.map((name) => rowOf(name, page.flags[name]!));
  const total = Object.keys(page.flags).length;
  const more = total > names.length
    ? `${page.name} --help all shows all ${total} options and says more. Subjects: ` +
      `${groupsOf(page).join(", ")}.`
    : page.sections === undefined
    ? ""
    : `${page.name} --help all says more.`;
  return joined([
    ...usage(page, paper),
    "",
    ...paragraph(page.about, paper.columns),
    ...examples(page, paper),
    ...commands(page, paper),
    ...heading(total > names.length ? "Most used options" : "Options", paper),
    ...table(rows, paper),
    ...(more === "" ? [] : ["", ...paragraph(more, paper.columns)]),
  ]);
}

function whole(page: HelpPage, paper: Paper): string {
  const sections = (page.sections ?? []).flatMap(([title, body]) => [
    ...heading(title, paper),
    ...blocksOf(body).flatMap((block, i) => [
      ...(i === 0 || "rows" in block ? [] : [""]),
      ..."text" in block ? paragraph(block.text, paper.columns, 2) : table(block.rows, paper, 4),
    ]),
  ]);
  return joined([
    ...usage(page, paper),
    "",
    ...paragraph(page.about, paper.columns),
    ...examples(page, paper),
    ...commands(page, paper),
    ...options(page, groupsOf(page), paper),
    ...heading("Environment", paper),
    ...table(variablesOf(page), paper),
    ...(page.words !== "command"
      ? []
      : [...heading("Environment of commands", paper), ...table(COMMAND_VARIABLES, paper)]),
    ...sections,
  ]);
}

function usage({ usage }: HelpPage, { bold }: Paper): string[] {
  return usage.map((line, i) => `${i === 0 ? `${bold("Usage:")} ` : "       "}${line}`);
}

function examples({ examples }: HelpPage, paper: Paper): string[] {
  const lines = examples.flatMap(([purpose, command]) => [
    ...paragraph(`# ${purpose}`, paper.columns, 2),
    `  ${paper.bold(command)}`,
  ]);
  return lines.length === 0 ? [] : [...heading("Examples", paper), ...lines];
}

/** Subcommands, or the words that come first. */
function commands({ name, commands = {}, actions = {} }: HelpPage, paper: Paper): string[] {
  const rows = [
    ...Object.entries(commands).map(([word, { summary }]): Row => [`${name} ${word}`, summary]),
    ...Object.entries(actions).map(([word, meaning]): Row => [`${name} ${word}`, meaning]),
  ];
  return rows.length === 0 ? [] : [...heading("Subcommands", paper), ...table(rows, paper)];
}

function options(page: HelpPage, groups: readonly Group[], paper: Paper): string[] {
  return groups.flatMap((group) => [
    ...heading(GROUPS[group], paper),
    ...table(flagsOf(page, group).map(([name, flag]) => rowOf(name, flag)), paper),
  ]);
}

function rowOf(name: string, flag: Flag<unknown>): Row {
  const letter = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.value === undefined ? "" : ` ${flag.value}`;
  return [`${letter}--${name}${value}`, meaningOf(flag)];
}

function heading(title: string, { bold }: Paper): string[] {
  return ["", bold(`${title}:`)];
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
