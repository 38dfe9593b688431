/** What the HTTP front tells Prometheus. */
import { counters, Durations, METRICS_TYPE, renderMetrics, single } from "../../observe/metrics.ts";
import type { Reply } from "../../observe/reply.ts";

/** Upper bounds in seconds: from a broker on this host to one that has just been started again. */
const CONFIRM_BOUNDS_S = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10];

/** How things are at this moment. */
export interface FrontState {
  readonly connected: boolean;
  readonly connectionsLost: number;
  readonly underWay: number;
  readonly known: number;
  readonly knownBytes: number;
}

export class FrontNumbers {
  readonly #answers: Record<string, number> = {};
  readonly #confirms = new Durations(CONFIRM_BOUNDS_S);
  #confirmed = 0;

  answered(status: number): void {
    this.#answers[status] = (this.#answers[status] ?? 0) + 1;
  }

  /** @param ms from the request to the confirm */
  confirmed(ms: number): void {
    this.#confirmed++;
    this.#confirms.add(ms / 1_000);
  }

  page(state: FrontState): Reply {
    const body = renderMetrics([
      counters(
        "workqueue_http_responses_total",
        "Requests that were answered, by status.",
        "status",
        this.#answers,
      ),
      single(
        "counter",
        "workqueue_http_tasks_confirmed_total",
        "Tasks that the broker has confirmed.",
        this.#confirmed,
      ),
      this.#confirms.metric(
        "workqueue_http_confirm_duration_seconds",
        "How long tasks took from their request to the confirm.",
      ),
      single(
        "gauge",
        "workqueue_http_tasks_under_way",
        "Tasks that wait for their confirm.",
        state.underWay,
      ),
      single("gauge", "workqueue_http_tasks_known", "Tasks that can be asked for.", state.known),
      single(
        "gauge",
        "workqueue_http_known_bytes",
        "Memory for tasks that can be asked for, about.",
        state.knownBytes,
      ),
      single(
        "gauge",
        "workqueue_http_connected",
        "1 while tasks can be sent to the broker, else 0.",
        state.connected ? 1 : 0,
      ),
      single(
        "counter",
        "workqueue_connections_lost_total",
        "Connections to the broker that were lost.",
        state.connectionsLost,
      ),
      single(
        "gauge",
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Deno.memoryUsage().rss,
      ),
    ]);
    return { status: 200, type: METRICS_TYPE, body };
  }
}
