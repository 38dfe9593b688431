/** docs/options.md: every option of every tool, and every variable, from the tables of the flags. */
import { GROUPS } from "../../src/cli/groups.ts";
import type { Flag } from "../../src/cli/flags.ts";
import { COMMAND_VARIABLES, variablesOf } from "../../src/cli/help/environment.ts";
import type { HelpPage } from "../../src/cli/help/page.ts";
import { flagsOf, groupsOf, meaningOf } from "../../src/cli/help/render.ts";

/** As `deno fmt` leaves it. */
const COLUMNS = 100;

export function renderOptionsPage(pages: readonly HelpPage[]): string {
  return [
    "# Options",
    "",
    ...prose(
      "Every option and every variable of all tools, as `--help all` and the manual pages have " +
        "them; `deno task manual` makes this page of the same tables. " +
        "[command_line.md](command_line.md) says what holds for all of them.",
    ),
    "",
    ...pages.flatMap(toolPart),
    "## Environment",
    "",
    ...variableRows(pages),
    "",
    "## Environment of a worker's commands",
    "",
    "| variable | what it tells |",
    "| --- | --- |",
    ...COMMAND_VARIABLES.map(([name, meaning]) => `| \`${name}\` | ${plain(meaning)} |`),
    "",
  ].join("\n");
}

function toolPart(page: HelpPage): string[] {
  return [
    `## ${page.name}`,
    "",
    ...prose(`\`${page.name}\`: ${page.summary}.`),
    "",
    ...groupsOf(page).flatMap((group) => [
      `### ${GROUPS[group]} of ${page.name}`,
      "",
      ...flagsOf(page, group).flatMap(([option, flag]) =>
        item(`${spelling(option, flag)}: ${plain(meaningOf(flag))}`)
      ),
      "",
    ]),
  ];
}

/** One row for each variable, whichever tools look at it. */
function variableRows(pages: readonly HelpPage[]): string[] {
  const rows = new Map<string, { meanings: Set<string>; tools: string[] }>();
  for (const page of pages) {
    for (const [name, meaning] of variablesOf(page)) {
      const row = rows.get(name) ?? { meanings: new Set(), tools: [] };
      row.meanings.add(meaning);
      row.tools.push(page.name);
      rows.set(name, row);
    }
  }
  return [
    "| variable | of | what it does |",
    "| --- | --- | --- |",
    ...[...rows].map(([name, { meanings, tools }]) => {
      const who = tools.length === pages.length ? "all" : tools.join(", ");
      return `| \`${name}\` | ${plain(who)} | ${[...meanings].map(plain).join("; ")} |`;
    }),
  ];
}

function spelling(option: string, { short, value }: Flag<unknown>): string {
  const letter = short === undefined ? "" : `\`-${short}\`, `;
  return `${letter}\`--${option}${value === undefined ? "" : ` ${value}`}\``;
}

/** Text in which Markdown would see something else. */
function plain(text: string): string {
  return text.replace(/[*_<>|]/g, "\\$&");
}

function item(text: string): string[] {
  return prose(text, COLUMNS - 2).map((line, i) => `${i === 0 ? "- " : "  "}${line}`);
}

function prose(text: string, columns = COLUMNS): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
