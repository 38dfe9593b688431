import { assertEquals } from "@std/assert";
import { type Damage, parseRuns, type Run, unexplained } from "../../scripts/chaos/duplicates.ts";

function run(task: number, worker: string, began: number, end: Run["end"] = "done"): Run {
  return { task, worker, began, ended: end === "none" ? Infinity : began + 100, end };
}

Deno.test("a second run needs damage to the process, the connection or the broker of the first", () => {
  const twice = [run(1, "a", 1_000), run(1, "b", 9_000), run(2, "a", 1_000)];
  const rows: [Damage[], number[]][] = [
    [[], [1]],
    [[{ at: 999 }], [1]], // before the task was there
    [[{ at: 1_050 }], []],
    [[{ at: 1_150, worker: "a" }], []], // the acknowledgement was on its way
    [[{ at: 1_050, worker: "b" }], [1]], // another worker's end
    [[{ at: 8_000, worker: "a" }], [1]], // long acknowledged
  ];
  for (const [damages, expected] of rows) assertEquals(unexplained(twice, damages), expected);
});

Deno.test("damage explains one more run for each run that it struck", () => {
  const runs = [run(1, "a", 1_000), run(1, "b", 13_000), run(1, "c", 25_000)];
  assertEquals(unexplained(runs, [{ at: 1_050 }]), [1]);
  assertEquals(unexplained(runs, [{ at: 1_050 }, { at: 13_050 }]), []);
  // The copy of a failed run and the task itself both live on.
  const copied = [run(2, "a", 1_000, "failed"), run(2, "b", 30_000), run(2, "c", 31_000)];
  assertEquals(unexplained(copied, [{ at: 15_000 }]), []);
  assertEquals(unexplained(copied, [{ at: 25_000 }]), [2]);
  // A run that was killed did nothing twice.
  assertEquals(unexplained([run(3, "a", 1_000, "none"), run(3, "b", 2_000)], []), []);
});

Deno.test("runs are read from what handlers wrote, also when they were killed", () => {
  const text = "7 begin a 10\n8 begin b 11\n7 failed a 20\n7 begin b 30\n7 done b 40\n8 do";
  assertEquals(parseRuns(text), [
    { task: 7, worker: "a", began: 10, ended: 20, end: "failed" },
    { task: 8, worker: "b", began: 11, ended: Infinity, end: "none" },
    { task: 7, worker: "b", began: 30, ended: 40, end: "done" },
  ]);
});
