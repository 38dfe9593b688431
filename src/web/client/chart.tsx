/** Depth and rates over the last minutes, drawn by uPlot. */
import uPlot from "uplot";
import { useEffect, useRef } from "preact/hooks";
import type { History } from "../../observe/board.ts";
import { count, rate } from "./format.ts";

interface Line {
  readonly label: string;
  /** Name of the colour in the style sheet. */
  readonly color: string;
  readonly values: readonly number[];
  readonly filled?: boolean;
  readonly isRate?: boolean;
}

const HEIGHT = 148;
/** What the chart shows at most and at least, in seconds. */
const SPAN = 300;
const LEAST_SPAN = 60;

/** What a colour of the style sheet is at this moment: a canvas takes no names, and no light-dark(). */
function colorOf(element: HTMLElement, name: string): string {
  element.style.color = `var(${name})`;
  return getComputedStyle(element).color;
}

/** The last minutes of a queue, or of all. */
export function Charts(
  { history: { at, ready, in: incoming, out }, tellsRates }: {
    history: History;
    tellsRates: boolean;
  },
) {
  return (
    <div class="charts">
      <Chart
        title="Waiting"
        at={at}
        lines={[{ label: "tasks", color: "--c-depth", values: ready, filled: true }]}
      />
      {tellsRates && (
        <Chart
          title="Tasks a second"
          at={at}
          lines={[
            { label: "in", color: "--c-in", values: incoming, isRate: true },
            { label: "out", color: "--c-out", values: out, isRate: true },
          ]}
        />
      )}
    </div>
  );
}

function Chart(
  { title, at, lines }: { title: string; at: readonly number[]; lines: readonly Line[] },
) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const data = [
    at.map((ms) => ms / 1_000),
    ...lines.map(({ values }) => values),
  ] as unknown as uPlot.AlignedData;

  useEffect(() => {
    const element = place.current!;
    chart.current = new uPlot(optionsOf(element, lines), data, element);
    const resize = new ResizeObserver(() => {
      chart.current?.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    resize.observe(element);
    const redraw = () => chart.current?.redraw();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", redraw);
    addEventListener("themechange", redraw);
    return () => {
      resize.disconnect();
      scheme.removeEventListener("change", redraw);
      removeEventListener("themechange", redraw);
      chart.current?.destroy();
    };
  }, [lines.length]);

  useEffect(() => chart.current?.setData(data));

  const said = lines.map(({ label, values, isRate }) => {
    const last = values.at(-1) ?? 0;
    return `${label} ${isRate ? `${rate(last)} a second` : count(last)}`;
  });
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{title}</span>
        {lines.map(({ label, color }) => (
          <span key={label} class="key">
            <i class={color.slice(2)} />
            {label}
          </span>
        ))}
      </figcaption>
      <div
        ref={place}
        role="img"
        aria-label={`${title}, last five minutes. Now: ${said.join(", ")}`}
      />
    </figure>
  );
}

function optionsOf(element: HTMLElement, lines: readonly Line[]): uPlot.Options {
  const axis = {
    stroke: () => colorOf(element, "--muted"),
    grid: { stroke: () => colorOf(element, "--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 26, 0, 0],
    scales: {
      x: {
        // Both are null while nothing is known.
        range: (_, first: number | null, last: number | null) => {
          const end = last ?? Date.now() / 1_000;
          return [Math.max(Math.min(first ?? end, end - LEAST_SPAN), end - SPAN), end];
        },
      },
      y: { range: (_, __, most) => [0, Math.max(4, most * 1.15)] },
    },
    axes: [
      {
        ...axis,
        size: 30,
        space: 60,
        incrs: [15, 30, 60],
        values: (_, ticks) => ticks.map(timeOf),
      },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(tickOf) },
    ],
    series: [
      {},
      ...lines.map(({ label, color, filled }): uPlot.Series => ({
        label,
        stroke: () => colorOf(element, color),
        width: 2,
        points: { show: false },
        ...(filled ? { fill: () => colorOf(element, `${color}-soft`) } : {}),
      })),
    ],
  };
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds % 60 === 0 ? {} : { second: "2-digit" }),
  });
}

function tickOf(value: number): string {
  return value >= 1_000_000
    ? `${value / 1_000_000}M`
    : value >= 10_000
    ? `${value / 1_000}k`
    : value.toLocaleString("en");
}
