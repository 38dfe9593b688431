/** What a worker tells those who watch over it: Prometheus, an orchestrator, a load balancer. */
import { type HttpServer, type ListenAddress, type Page, servePages } from "../observe/http.ts";
import {
  counters,
  Durations,
  type Metric,
  METRICS_TYPE,
  renderMetrics,
  single,
} from "../observe/metrics.ts";
import type { EndedRun } from "./task_log.ts";
import type { Worker } from "./worker.ts";

/** Upper bounds in seconds: from a script that looks something up to a video that is encoded. */
const RUN_BOUNDS_S = [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1_800];
/** Most stamps count whole seconds: from there to a day. */
const WAIT_BOUNDS_S = [1, 5, 15, 60, 300, 1_800, 7_200, 86_400];

/**
 * /metrics; /livez, which answers while this process does; /readyz, which says 200 only while the
 * worker takes tasks from all its queues. A broker that is down makes a worker not ready, and is no
 * reason to start it again.
 */
export class WorkerPages {
  readonly #runs = new Durations(RUN_BOUNDS_S);
  readonly #waits = new Durations(WAIT_BOUNDS_S);
  #retries = 0;
  readonly #more: () => readonly Metric[];

  /** @param more numbers of the work itself */
  constructor(more: () => readonly Metric[] = () => []) {
    this.#more = more;
  }

  /** A run has ended. */
  ran({ attempt, ms, waitedMs }: EndedRun): void {
    this.#runs.add(ms / 1_000);
    if (waitedMs !== undefined) this.#waits.add(waitedMs / 1_000);
    if (attempt > 1) this.#retries++;
  }

  /**
   * @throws {ToolError} nothing can listen at this address
   */
  serve(address: ListenAddress, worker: Worker): Promise<HttpServer> {
    return servePages(address, {
      "/metrics": () => ({ status: 200, type: METRICS_TYPE, body: this.#metrics(worker) }),
      "/livez": () => page(200, "alive"),
      "/readyz": () => worker.consuming ? page(200, "ready") : page(503, "takes no tasks now"),
    });
  }

  #metrics(worker: Worker): string {
    const { running, started, ...outcomes } = worker.describe();
    return renderMetrics([
      counters(
        "workqueue_tasks_total",
        "Tasks by what became of them; delayed: into a delay queue; returned: to their own.",
        "outcome",
        outcomes,
      ),
      single("counter", "workqueue_runs_total", "Runs of tasks that have begun.", started!),
      this.#runs.metric("workqueue_run_duration_seconds", "How long runs of tasks took."),
      this.#waits.metric(
        "workqueue_wait_duration_seconds",
        "How long tasks waited for their run, where a timestamp tells.",
      ),
      single(
        "counter",
        "workqueue_retries_total",
        "Runs of tasks that had been tried before.",
        this.#retries,
      ),
      single("gauge", "workqueue_tasks_running", "Tasks taken and not settled.", running!),
      single(
        "gauge",
        "workqueue_consuming",
        "1 while tasks are taken from all queues, else 0.",
        worker.consuming ? 1 : 0,
      ),
      single(
        "counter",
        "workqueue_connections_lost_total",
        "Connections that brought tasks and were lost.",
        worker.connectionsLost,
      ),
      single(
        "gauge",
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Deno.memoryUsage().rss,
      ),
      ...this.#more(),
    ]);
  }
}

function page(status: number, text: string): Page {
  return { status, type: "text/plain; charset=utf-8", body: `${text}\n` };
}
