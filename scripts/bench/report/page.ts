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
    ...tables.flatMap((table) => [
      `## ${table.title}`,
      table.text,
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
    ["", ...table.columns.map(({ title }) => title)],
    ["---", ...table.columns.map(() => "---:")],
    ...table.rows.map((row) => [row.name, ...row.cells.map((_, i) => cellText(row, i))]),
  ];
  return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function aheadText(table: Table): string {
  const lines = ahead(table).map(({ row, columns }) => {
    const why = Object.entries(table.why).find(([name]) => row.name.startsWith(name))?.[1];
    return `- **${row.name}** is ahead in ${columns.join(", ")}.` + (why ? ` ${why}` : "");
  });
  return lines.length === 0 ? "Nobody is ahead of us here." : lines.join("\n");
}
