/**
 * Numbers for Prometheus, in its text format 0.0.4 (https://prometheus.io/docs/instrumenting/
 * exposition_formats/). Read when somebody asks for them, and not before.
 */

/** The content type of what {@linkcode renderMetrics} gives. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** One number, with the label that tells it from the others of its metric. */
export interface Sample {
  /** `outcome="done"`, values without quotes and backslashes; default none. */
  readonly label?: string;
  /** Behind the metric's name: "_bucket"; default nothing. */
  readonly suffix?: string;
  readonly value: number;
}

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly samples: readonly Sample[];
}

/** A metric that is a single number. */
export function single(
  type: "counter" | "gauge",
  name: string,
  help: string,
  value: number,
): Metric {
  return { name, help, type, samples: [{ value }] };
}

/** A counter with one number for each value of a label. */
export function counters(
  name: string,
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): Metric {
  const samples = Object.entries(values).map(([key, value]) => ({
    label: `${label}="${key}"`,
    value,
  }));
  return { name, help, type: "counter", samples };
}

/** The page that Prometheus reads. */
export function renderMetrics(metrics: readonly Metric[]): string {
  return metrics.map(({ name, help, type, samples }) => {
    const lines = samples.map(({ suffix = "", label, value }) =>
      `${name}${suffix}${label === undefined ? "" : `{${label}}`} ${value}\n`
    );
    return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
  }).join("");
}

/** How long things took: how many were over within each of a few times. */
export class Durations {
  readonly #bounds: readonly number[];
  /** For each bound, how many took longer than the one before it and no longer than this one. */
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** @param bounds in seconds, ascending */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  add(seconds: number): void {
    this.#sum += seconds;
    this.#count++;
    const i = this.#bounds.findIndex((bound) => seconds <= bound);
    if (i >= 0) this.#counts[i]!++;
  }

  metric(name: string, help: string): Metric {
    let total = 0;
    const buckets = this.#bounds.map((bound, i) => ({
      suffix: "_bucket",
      label: `le="${bound}"`,
      value: total += this.#counts[i]!,
    }));
    return {
      name,
      help,
      type: "histogram",
      samples: [
        ...buckets,
        { suffix: "_bucket", label: 'le="+Inf"', value: this.#count },
        { suffix: "_sum", value: this.#sum },
        { suffix: "_count", value: this.#count },
      ],
    };
  }
}
