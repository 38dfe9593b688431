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

/** One row for each variable and what it does, with the tools that look at it so. */
function variableRows(pages: readonly HelpPage[]): string[] {
  const uses = pages.flatMap((page) =>
    variablesOf(page).map(([name, meaning]) => ({ name, meaning, tool: page.name }))
  );
  const rows = [...Map.groupBy(uses, ({ name }) => name)].flatMap(([name, all]) =>
    [...Map.groupBy(all, ({ meaning }) => meaning)].map(([meaning, alike]) => {
      const who = alike.length === pages.length ? "all" : alike.map(({ tool }) => tool).join(", ");
      return `| \`${name}\` | ${plain(who)} | ${plain(meaning)} |`;
    })
  );
  return ["| variable | of | what it does |", "| --- | --- | --- |", ...rows];
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
