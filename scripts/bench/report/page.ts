/** The report as a page of Markdown with its charts. */
import { barChart, lineChart } from "./chart.ts";
import { ahead, ratio, type Row, shortNumber, type Table } from "./table.ts";

/** What was measured with. */
export interface Machine {
  readonly facts: readonly string[];
  readonly command: string;
  readonly minutes: number;
}

/** @returns the files of the report by their path below docs/ */
export function renderReport(tables: readonly Table[], machine: Machine): Map<string, string> {
  const files = new Map<string, string>();
  for (const table of tables) {
    const svg = chartOf(table);
    if (svg !== undefined) files.set(`benchmarks/${table.id}.svg`, svg);
  }
  files.set("benchmarks.md", markdown(tables, machine, files));
  return files;
}

function chartOf(table: Table): string | undefined {
  const { chart } = table;
  const hasNumbers = table.rows.some(({ cells }) => cells.some((cell) => "value" in cell));
  if (chart === undefined || !hasNumbers) return undefined;
  const caption = { title: table.title, unit: table.unit };
  if (chart.kind === "bars") {
    return barChart(
      { ...caption, unit: table.columns[chart.column]!.title },
      table.rows.map(({ name, cells }) => ({ name, cell: cells[chart.column]! })),
    );
  }
  return lineChart(
    { ...caption, xTitle: chart.xTitle },
    chart.x,
    table.rows.map(({ name, cells }) => ({
      name,
      values: cells.slice(0, chart.x.length).map((cell) =>
        "value" in cell ? cell.value : undefined
      ),
    })),
  );
}

function markdown(
  tables: readonly Table[],
  { facts, command, minutes }: Machine,
  files: ReadonlyMap<string, string>,
): string {
  return [
    "# Benchmarks",
    `\`${command}\` wrote this page, in one run of ${minutes.toFixed(0)} minutes. Everything ran ` +
    "on this one machine, clients and brokers together, over the loopback. Contestants take turns. " +
    "Numbers are medians. In brackets a row's number divided by ours, which is the first row. " +
    "Where somebody is ahead of us by more than 5 %, it is said under the table, and why as far " +
    "as the design of both explains it.",
    facts.map((fact) => `- ${fact}`).join("\n"),
    "## In short",
    "Who is ahead of us where, and by what factor at most; the tables say why.",
    summary(tables),
    ...tables.flatMap((table) => [
      `## ${table.title}`,
      [table.text, ...directionOf(table)].join(" "),
      markdownTable(table),
      ...(files.has(`benchmarks/${table.id}.svg`)
        ? [`![${table.title}: the table as a chart](benchmarks/${table.id}.svg)`]
        : []),
      aheadText(table),
    ]),
  ].join("\n\n") + "\n";
}

function markdownTable(table: Table): string {
  const cellText = (row: Row, i: number) => {
    const cell = row.cells[i]!;
    if ("missing" in cell) return cell.missing;
    const times = row === table.rows[0] ? undefined : ratio(table, row, i);
    return shortNumber(cell.value) + (times === undefined ? "" : ` (${shortNumber(times)}x)`);
  };
  const rows = [
    [
      table.chart?.kind === "lines" ? `${table.unit}, by ${table.chart.xTitle}` : "",
      ...table.columns.map(({ title }) => title),
    ],
    ["---", ...table.columns.map(() => "---:")],
    ...table.rows.map((row) => [row.name, ...row.cells.map((_, i) => cellText(row, i))]),
  ];
  return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** Nothing where it differs from column to column. */
function directionOf({ columns }: Table): string[] {
  const directions = new Set(columns.map(({ better }) => better));
  if (directions.size > 1) return [];
  return [directions.has("more") ? "More is better." : "Less is better."];
}

function aheadText(table: Table): string {
  const lines = ahead(table).map(({ row, places }) => {
    const why = Object.entries(table.why).find(([name]) => row.name.startsWith(name))?.[1];
    const where = places.map(({ title, times }) => `${title} (${shortNumber(times)}x)`).join(", ");
    return `- **${row.name}** is ahead ${preposition(table)} ${where}${behind(table)}.` +
      (why ? ` ${why}` : "");
  });
  return lines.length === 0 ? "Nobody is ahead of us here." : lines.join("\n");
}

function preposition({ chart }: Table): string {
  return chart?.kind === "lines" ? "at" : "in";
}

/** What the numbers of columns count: " connections". */
function behind({ chart, columns }: Table): string {
  const isBare = chart?.kind === "lines" && columns.every(({ title }) => /^[\d,]+$/.test(title));
  return isBare ? ` ${chart.xTitle}` : "";
}

/** A line for each table. */
function summary(tables: readonly Table[]): string {
  const rows = tables.map((table) => {
    const names = ahead(table).map(({ row, places }) => {
      const factors = places.map(({ times }) => Math.max(times, 1 / times));
      return `${row.name} (${shortNumber(Number(Math.max(...factors).toPrecision(2)))}x)`;
    });
    return `| [${table.title}](#${anchorOf(table.title)}) | ${names.join(", ") || "nobody"} |`;
  });
  return ["| | ahead of us |", "| --- | --- |", ...rows].join("\n");
}

/** What a heading is called in a link. */
function anchorOf(title: string): string {
  return title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");
}
