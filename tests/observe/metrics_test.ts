import { assertEquals } from "@std/assert";
import { counters, Durations, renderMetrics, single } from "../../src/observe/metrics.ts";

Deno.test("metrics are rendered in Prometheus' text format", () => {
  const page = renderMetrics([
    counters("tasks_total", "Tasks.", "outcome", { done: 2, dead: 0 }),
    single("gauge", "running", "Now.", 1.5),
  ]);
  assertEquals(
    page,
    `# HELP tasks_total Tasks.
# TYPE tasks_total counter
tasks_total{outcome="done"} 2
tasks_total{outcome="dead"} 0
# HELP running Now.
# TYPE running gauge
running 1.5
`,
  );
});

Deno.test("a histogram counts what took no longer than each bound", () => {
  const durations = new Durations([0.5, 1, 2]);
  for (const seconds of [0, 0.5, 0.75, 1, 2, 3]) durations.add(seconds);
  assertEquals(
    renderMetrics([durations.metric("run_seconds", "Runs.")]),
    `# HELP run_seconds Runs.
# TYPE run_seconds histogram
run_seconds_bucket{le="0.5"} 2
run_seconds_bucket{le="1"} 4
run_seconds_bucket{le="2"} 5
run_seconds_bucket{le="+Inf"} 6
run_seconds_sum 7.25
run_seconds_count 6
`,
  );
});
