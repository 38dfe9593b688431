import { assertEquals } from "@std/assert";
import { type Damage, parseRuns, type Run, unexplained } from "../../scripts/chaos/duplicates.ts";

function run(task: number, worker: string, began: number, end: Run["end"] = "done"): Run {
  return { task, worker, began, ended: end === "none" ? Infinity : began + 100, end };
}

function cut(at: number): Damage {
  return { what: "connections", from: at, to: at };
}

function killed(worker: string, at: number): Damage {
  return { what: "worker", worker, from: at, to: at };
}

function judged(runs: Run[], damages: Damage[], deaths: [number, number][] = []): number[] {
  return unexplained({ runs, damages, deaths: new Map(deaths), concurrency: 2 });
}

Deno.test("a second run needs damage to the process, the connection or the broker of the first", () => {
  const twice = [run(1, "a", 1_000), run(1, "b", 9_000), run(2, "a", 1_000)];
  const rows: [Damage[], number[]][] = [
    [[], [1]],
    [[cut(999)], [1]], // before the task was there
    [[cut(1_050)], []],
    [[killed("a", 1_150)], []], // the acknowledgement was on its way
    [[killed("b", 1_050)], [1]], // another worker's end
    [[killed("a", 8_000)], [1]], // long acknowledged
  ];
  for (const [damages, expected] of rows) assertEquals(judged(twice, damages), expected);
});

Deno.test("what a worker began after a run shows that its acknowledgement was read", () => {
  const runs = [run(1, "a", 1_000), run(1, "b", 9_000), run(2, "a", 1_101), run(3, "b", 1_102)];
  assertEquals(judged(runs, [cut(1_110)]), []);
  runs.push(run(4, "a", 1_103));
  assertEquals(judged(runs, [cut(1_110)]), [1]);
  // A broker may have read what it has not stored.
  const from = { what: "broker", from: 1_110, to: 1_200 } as const;
  assertEquals(judged(runs, [from]), []);
  assertEquals(judged(runs, [{ ...from, from: 2_101 }]), [1]);
});

Deno.test("damage explains one more end for each run that it struck", () => {
  const runs = [run(1, "a", 1_000), run(1, "b", 13_000), run(1, "c", 25_000)];
  assertEquals(judged(runs, [cut(1_050)]), [1]);
  assertEquals(judged(runs, [cut(1_050), cut(13_050)]), []);
  // The copy of a failed run and the task itself both live on.
  const copied = [run(2, "a", 1_000, "failed"), run(2, "b", 30_000), run(2, "c", 31_000)];
  assertEquals(judged(copied, [cut(15_000)]), []);
  assertEquals(judged(copied, [cut(25_000)]), [2]);
  // A run that was killed did nothing, and explains nothing.
  assertEquals(judged([run(3, "a", 1_000, "none"), run(3, "b", 2_000)], []), []);
  const none = [run(3, "a", 1_000, "none"), run(3, "b", 2_000), run(3, "c", 9_000)];
  assertEquals(judged(none, [killed("a", 1_050)]), [3]);
});

Deno.test("dying twice, or dying and being done, needs damage too", () => {
  const failed = run(1, "a", 1_000, "failed");
  assertEquals(judged([failed], [], [[1, 1]]), []);
  assertEquals(judged([failed], [], [[1, 2]]), [1]);
  assertEquals(judged([failed], [cut(1_150)], [[1, 2]]), []);
  assertEquals(judged([failed, run(1, "b", 2_000)], [], [[1, 1]]), [1]);
});

Deno.test("runs are read from what handlers wrote, also when they were killed", () => {
  const text = "7 begin a 10\n8 begin b 11\n7 failed a 20\n7 begin b 30\n7 done b 40\n8 do";
  assertEquals(parseRuns(text), [
    { task: 7, worker: "a", began: 10, ended: 20, end: "failed" },
    { task: 8, worker: "b", began: 11, ended: Infinity, end: "none" },
    { task: 7, worker: "b", began: 30, ended: 40, end: "done" },
  ]);
});
