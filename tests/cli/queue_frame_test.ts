import { assert, assertEquals, assertMatch } from "@std/assert";
import { type QueueRow, tableOf } from "../../src/cli/queue_row.ts";
import { widthOf } from "../../src/cli/text_width.ts";
import {
  type Frame,
  type Look,
  rateOf,
  renderFrame,
  sparkline,
} from "../../src/cli/queue_frame.ts";

function looks(...depths: (number | undefined)[]): Look[] {
  return depths.map((ready, i) => ({ at: i * 2_000, ready }));
}

function frame(rows: readonly QueueRow[], more: Partial<Frame> = {}): string[] {
  return renderFrame({
    rows,
    history: new Map(),
    trouble: undefined,
    columns: 80,
    lines: 24,
    colors: false,
    ...more,
  });
}

Deno.test("a sparkline is scaled to its largest value, and has gaps where nothing is known", () => {
  assertEquals(sparkline([0, 1, undefined, 7, 14], 10), "\u2581\u2582 \u2585\u2588");
  assertEquals(sparkline([9, 1, 2], 2), "\u2585\u2588");
  assertEquals(sparkline([], 5), "");
  assertEquals(sparkline([0, 0], 5), "\u2581\u2581");
});

Deno.test("a rate is the change over the last looks that saw something", () => {
  assertEquals(rateOf(looks(10)), undefined);
  assertEquals(rateOf(looks(10, 30)), 10);
  assertEquals(rateOf(looks(0, 0, 100, undefined, undefined, 80)), 10);
  assertEquals(rateOf(looks(0, 0, 100, undefined, undefined, undefined, 80)), -20 / 8);
});

Deno.test("a frame shows depth, change, consumers and how it was", () => {
  const rows: QueueRow[] = [
    { name: "task_queue", ready: 12_345, consumers: 2 },
    { name: "task_queue.dead", ready: 3, consumers: 0 },
    { name: "held", ready: 5, state: "paused" },
    { name: "none", state: "missing" },
  ];
  const history = new Map([["task_queue", looks(12_325, 12_345)]]);
  assertEquals(frame(rows, { history, trouble: "the broker is away" }), [
    "queue                ready   change/s  consumers",
    "task_queue          12,345        +10          2  \u2588\u2588",
    "task_queue.dead          3                     0",
    "held                     5                paused",
    "none               missing                     -",
    "the broker is away",
  ]);
});

Deno.test("a frame of what a page tells has rates, and bars in 80 columns", () => {
  const told = { ready: 12_345, consumers: 2, unacked: 3, in: 1234.5, out: 0.25 };
  const rows: QueueRow[] = [
    { name: "task_queue", ...told },
    { name: "held", ...told, ready: 5, in: 0, out: 0, state: "paused" },
    { name: "none", state: "missing" },
  ];
  const history = new Map([["task_queue", looks(12_325, 12_345)]]);
  assertEquals(frame(rows, { history }), [
    "queue             ready  unacked     in/s    out/s  consumers",
    "task_queue       12,345        3    1,235      0.3          2  \u2588\u2588",
    "held                  5        3        0        0     paused",
    "none            missing        -        -        -          -",
  ]);
});

Deno.test("no line reaches the last column, whatever the names and the terminal are", () => {
  const names = [
    "q",
    "\u4f5c".repeat(60),
    "e\u0301".repeat(100),
    "x".repeat(255),
    "\u{1f407}\u{1f407}",
  ];
  const rows = names.map((name, i) => {
    return { name, ready: 1e12, consumers: 1e6, ...(i === 0 ? { in: 1e5, out: 0 } : {}) };
  });
  const history = new Map(rows.map(({ name }) => [name, looks(...Array(80).fill(4e11))]));
  for (const columns of [1, 5, 20, 40, 80, 81, 200]) {
    for (const lines of [1, 3, 5, 24]) {
      const shown = frame(rows, { columns, lines, history, trouble: "t".repeat(300) });
      for (const line of shown) assert(widthOf(line) < Math.max(2, columns), `${columns}: ${line}`);
      assert(shown.length <= Math.max(4, lines), `${shown.length} lines of ${lines}`);
    }
  }
});

Deno.test("long names keep their ends, which tell them apart", () => {
  const name = `${"long.".repeat(20)}dead`;
  assertMatch(frame([{ name, ready: 1, consumers: 0 }])[1]!, /^long\.long.*\.\..*long\.dead +1 /);
  // A page tells more columns, which leave less for names.
  const told = { ready: 1, consumers: 0, unacked: 0, in: 0, out: 0 };
  assertMatch(frame([{ name, ...told }])[1]!, /^long.*\.\..*long\.dead +1 /);
});

Deno.test("colors come only where they are wanted, and end where they begin", () => {
  const rows: QueueRow[] = [
    { name: "q", ready: 1, consumers: 0 },
    { name: "q.dead", ready: 1, consumers: 0 },
    { name: "p", ready: 1, state: "paused" },
  ];
  const history = new Map([["q", looks(0, 1)]]);
  const plain = frame(rows, { history });
  const painted = frame(rows, { history, colors: true });
  // deno-lint-ignore no-control-regex
  const bare = painted.map((line) => line.replace(/\x1b\[\d+m/g, "").trimEnd());
  assertEquals(bare, plain);
  for (const line of painted) {
    // deno-lint-ignore no-control-regex
    const codes = [...line.matchAll(/\x1b\[(\d+)m/g)].map(([, code]) => code);
    assert(codes.length > 0, line);
    assertEquals(codes.filter((_, i) => i % 2 === 1).every((code) => code === "0"), true);
  }
});

Deno.test("a table is aligned whatever its names are", () => {
  const names = ["plain", "\u65e5\u672c\u8a9e", "\u{1f680}\u{1f680}", "e\u0301", "two lines\n", ""];
  const lines = tableOf(names.map((name, ready) => ({ name, ready, consumers: 0 }))).trimEnd();
  const [width, ...others] = lines.split("\n").map(widthOf);
  assertEquals(others, names.map(() => width));
});

Deno.test("a table fits a terminal, and has whole names elsewhere", () => {
  const name = (end: string) => `${"\u65e5".repeat(60)}${end}`;
  const rows = [name(".dead"), name(".delay.60000"), "q"]
    .map((name, ready) => ({ name, ready, consumers: 0, unacked: 1, in: 1, out: 1, oldestAt: 0 }));
  const lines = (width?: number) => tableOf(rows, width).trimEnd().split("\n");
  const narrow = lines(80);
  assert(narrow.every((line) => widthOf(line) <= 80), narrow.join("\n"));
  assertMatch(narrow[1]!, /\.\..*\.dead {2}/);
  assertMatch(narrow[2]!, /\.\..*\.delay\.60000 {2}/);
  assert(lines()[1]!.startsWith(rows[0]!.name));
  assert(lines(200)[1]!.startsWith(rows[0]!.name));
});
