/** Bars and curves as SVG, legible on light and dark pages. */
import type { Cell } from "./lab.ts";
import { shortNumber } from "./table.ts";

export interface Caption {
  readonly title: string;
  /** Of the numbers. */
  readonly unit: string;
  readonly xTitle?: string;
}

const WIDTH = 760;
/** Okabe and Ito's colours, without those that vanish on white or black. */
const COLOURS = ["#d55e00", "#2f81c7", "#56b4e9", "#009e73", "#cc79a7", "#e69f00"];
const DASHES = ["", "", "7 4", "2 3", "9 3 2 3", "4 2"];

/** Its own background: a picture on GitHub does not know whether the page is dark. */
const STYLE = `<style>
  text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .soft { fill: #59636e }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .soft { fill: #9198a1 }
    .ground { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }
  }
</style>`;

function picture(height: number, title: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" ` +
    `aria-label="${escape(title)}" width="${WIDTH}" height="${height}">\n${STYLE}\n` +
    `<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>\n` +
    `${parts.join("\n")}\n</svg>\n`;
}

/** One bar for each row; one that has no number says why. */
export function barChart(
  { title, unit }: Caption,
  rows: readonly { readonly name: string; readonly cell: Cell }[],
): string {
  const [left, top, step, thick] = [230, 66, 30, 18];
  const most = Math.max(...rows.map(({ cell }) => "value" in cell ? cell.value : 0));
  const room = WIDTH - left - 110;
  const parts = rows.flatMap(({ name, cell }, i) => {
    const y = top + i * step;
    const label = text(left - 10, y + 13, name, { anchor: "end" });
    if ("missing" in cell) {
      return [label, text(left, y + 13, clip(cell.missing, 60), { class: "soft" })];
    }
    const width = Math.max(2, room * cell.value / most);
    return [
      label,
      `<rect x="${left}" y="${y}" width="${width.toFixed(1)}" height="${thick}" rx="3" ` +
      `fill="${i === 0 ? COLOURS[0] : COLOURS[1]}"/>`,
      text(left + width + 8, y + 13, shortNumber(cell.value)),
    ];
  });
  return picture(top + rows.length * step + 14, title, [
    text(20, 28, title, { class: "title" }),
    text(20, 48, unit, { class: "soft" }),
    ...parts,
  ]);
}

/** A curve for each row; both axes logarithmic. */
export function lineChart(
  { title, unit, xTitle = "" }: Caption,
  x: readonly number[],
  rows: readonly { readonly name: string; readonly values: readonly (number | undefined)[] }[],
): string {
  const [left, right, top, bottom] = [78, 215, 66, 330];
  const all = rows.flatMap(({ values }) => values.filter((value) => value !== undefined));
  const [low, high] = decades(all);
  const [first, last] = [Math.log10(x[0]!), Math.log10(x.at(-1)!)];
  const atX = (value: number) =>
    left + (WIDTH - left - right) * (Math.log10(value) - first) / (last - first || 1);
  const atY = (value: number) => bottom - (bottom - top) * (Math.log10(value) - low) / (high - low);
  const grid = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).flatMap((
    value,
  ) => [
    `<line class="grid" x1="${left}" x2="${WIDTH - right}" y1="${atY(value).toFixed(1)}" ` +
    `y2="${atY(value).toFixed(1)}"/>`,
    text(left - 8, atY(value) + 4, shortNumber(value), { anchor: "end", class: "soft" }),
  ]);
  const ticks = x.map((value) =>
    text(atX(value), bottom + 20, powerText(value), { anchor: "middle", class: "soft" })
  );
  const curves = rows.flatMap(({ name, values }, i) => {
    const points = values.flatMap((value, at) =>
      value === undefined || value <= 0 ? [] : [[atX(x[at]!), atY(value)] as const]
    );
    const colour = COLOURS[i % COLOURS.length]!;
    const y = top + 12 + i * 24;
    const line = `stroke="${colour}" stroke-width="${i === 0 ? 3 : 2}" fill="none" ` +
      `stroke-dasharray="${DASHES[i % DASHES.length]}"`;
    return [
      `<polyline ${line} points="${
        points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ")
      }"/>`,
      ...points.map(([px, py]) =>
        `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="3" fill="${colour}"/>`
      ),
      `<line ${line} x1="${WIDTH - right + 16}" x2="${WIDTH - right + 44}" y1="${y}" y2="${y}"/>`,
      text(WIDTH - right + 50, y + 4, name + (points.length === 0 ? ": none" : "")),
    ];
  });
  return picture(bottom + 56, title, [
    text(20, 28, title, { class: "title" }),
    text(20, 48, unit, { class: "soft" }),
    ...grid,
    ...ticks,
    text((left + WIDTH - right) / 2, bottom + 42, xTitle, { anchor: "middle", class: "soft" }),
    ...curves,
  ]);
}

/** The powers of ten around some numbers, at least one decade. */
function decades(values: readonly number[]): [low: number, high: number] {
  const positive = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...positive)));
  const high = Math.ceil(Math.log10(Math.max(...positive)));
  return [low, Math.max(high, low + 1)];
}

function powerText(value: number): string {
  if (value >= 1_000_000) return `${value / 1_000_000}M`;
  return value >= 1_000 ? `${value / 1_000}k` : String(value);
}

function text(
  x: number,
  y: number,
  words: string,
  { anchor = "start", class: kind = "" } = {},
): string {
  const look = kind === "" ? "" : ` class="${kind}"`;
  return `<text${look} x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">` +
    `${escape(words)}</text>`;
}

function clip(words: string, length: number): string {
  return words.length > length ? words.slice(0, length - 3) + "..." : words;
}

function escape(words: string): string {
  // deno-lint-ignore no-control-regex
  return words.replaceAll(/[\x00-\x1f\x7f]/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;");
}
