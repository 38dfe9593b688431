import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { backlogTables } from "../../scripts/bench/report/growth.ts";
import { type Cell, Lab, SIZES } from "../../scripts/bench/report/lab.ts";
import { renderReport } from "../../scripts/bench/report/page.ts";
import type { Store } from "../../scripts/bench/report/stores.ts";
import { ahead, type Table } from "../../scripts/bench/report/table.ts";

const value = (value: number): Cell => ({ value });
const table: Table = {
  id: "rates",
  title: "Rates <of> all",
  text: "What was done.",
  unit: "tasks a second",
  columns: [{ title: "1", better: "more" }, { title: "1,000", better: "more" }],
  rows: [
    { name: "ours", cells: [value(100), value(12_345)] },
    { name: "Redis, always", cells: [value(250), value(12_400)] },
    { name: "another", cells: [value(50), { missing: "not installed" }] },
  ],
  chart: { kind: "lines", x: [1, 1_000], xTitle: "queues" },
  why: { Redis: "It keeps all in memory." },
};
const machine = { facts: ["2 cores"], command: "deno task bench --report", minutes: 1 };

Deno.test("the report says who is ahead and why, and who could not be measured", () => {
  const files = renderReport([table], machine);
  const page = files.get("benchmarks.md")!;
  assertStringIncludes(page, "| Redis, always | 250 (2.5x) | 12,400 (1x) |");
  assertStringIncludes(page, "| another | 50 (0.5x) | not installed |");
  assertStringIncludes(page, "| tasks a second, by queues | 1 | 1,000 |");
  assertStringIncludes(page, "What was done. More is better.");
  assertStringIncludes(page, "**Redis, always** is ahead at 1 (2.5x) queues. It keeps all in");
  assertStringIncludes(page, "| [Rates <of> all](#rates-of-all) | Redis, always (2.5x) |");
  assertStringIncludes(page, "](benchmarks/rates.svg)");
});

Deno.test("where less is better, the smaller number is ahead", () => {
  const columns = table.columns.map(({ title }) => ({ title, better: "less" as const }));
  assertEquals(ahead({ ...table, columns }).map(({ row }) => row.name), ["another"]);
});

Deno.test("a chart has a curve for each row, and text that breaks no markup", () => {
  const svg = renderReport([table], machine).get("benchmarks/rates.svg")!;
  assertEquals(svg.match(/<polyline /g)?.length, 3);
  assertStringIncludes(svg, "Rates &lt;of> all");
  assert(!svg.includes("NaN") && !svg.includes("undefined"));
});

Deno.test("a table without any number has no chart", () => {
  const rows = table.rows.map(({ name }) => ({
    name,
    cells: [{ missing: "-" }, { missing: "-" }],
  }));
  assertEquals([...renderReport([{ ...table, rows }], machine).keys()], ["benchmarks.md"]);
});

Deno.test("a measurement that fails or takes too long is its reason, and the others go on", async () => {
  const lab = new Lab({ ...SIZES.tiny, rounds: 2 }, "", () => {});
  const cells = await lab.inTurn("test", 2, [
    { name: "good", run: () => Promise.resolve(5) },
    { name: "bad", run: () => Promise.reject(new Error("a stack\nits reason")) },
  ]);
  assertEquals(cells, [{ value: 5 }, { missing: "failed: its reason" }]);
  const slow = await lab.measure("slow", (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }), 1_000);
  assertEquals(slow, { missing: "over 1 s" });
});

Deno.test("a step of the backlog that would take longer than it may is not begun", async () => {
  const steps: number[] = [];
  const store: Store = {
    name: "slow",
    version: "1",
    fresh: () => Promise.resolve(),
    rate: (_, { count }) => Promise.resolve(steps.push(count)),
    latency: () => Promise.resolve([]),
    memory: () => Promise.resolve(1),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const kind = { name: "slow", missing: undefined, start: () => Promise.resolve(store) };
  const lab = new Lab({ ...SIZES.tiny, backlogs: [100, 110, 10_000, 20_000] }, "", () => {});
  const [rates] = await backlogTables(lab, [{ kind, store }]);
  assertEquals(steps, [100, 10]);
  assertEquals(rates!.rows[0]!.cells, [
    ...[{ value: 1 }, { value: 2 }],
    ...[{ missing: "would take 82 minutes" }, { missing: "would take 82 minutes" }],
  ]);
});
