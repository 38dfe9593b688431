/** What the report shows: tables whose first row is ours, and curves. */
import type { Cell } from "./lab.ts";

export interface Column {
  readonly title: string;
  readonly better: "more" | "less";
}

export interface Row {
  readonly name: string;
  readonly cells: readonly Cell[];
  /** Another of our own programs: nobody who could be ahead of us. */
  readonly isOurs?: boolean;
}

export interface Table {
  /** Of its files. */
  readonly id: string;
  readonly title: string;
  /** What was done, in full sentences. */
  readonly text: string;
  readonly columns: readonly Column[];
  /** The first row is ours: the others are compared with it. */
  readonly rows: readonly Row[];
  /** A picture of it: bars of one column, or lines over the columns. */
  readonly chart?:
    | { readonly kind: "bars"; readonly column: number }
    | { readonly kind: "lines"; readonly x: readonly number[]; readonly xTitle: string }
    | undefined;
  readonly unit: string;
  /** Why a row may be ahead, by the beginning of its name; said where it is. */
  readonly why: Readonly<Record<string, string>>;
}

/** A row is ahead when its number is better than ours by more than this factor: noise is not. */
const CLEARLY = 1.05;

/** A number of a row as a multiple of ours, or undefined where one of them is missing. */
export function ratio(table: Table, row: Row, column: number): number | undefined {
  const ours = table.rows[0]!.cells[column]!;
  const theirs = row.cells[column]!;
  if (!("value" in ours) || !("value" in theirs) || ours.value === 0) return undefined;
  return theirs.value / ours.value;
}

/** Where a row is ahead: a column, and the row's number as a multiple of ours. */
export interface Place {
  readonly title: string;
  readonly times: number;
}

/** The rows that are ahead of ours, and where. */
export function ahead(table: Table): { row: Row; places: Place[] }[] {
  return table.rows.slice(1).filter(({ isOurs }) => !isOurs).flatMap((row) => {
    const places = table.columns.flatMap(({ title, better }, i): Place[] => {
      const times = ratio(table, row, i);
      if (times === undefined) return [];
      const isAhead = better === "more" ? times > CLEARLY : times < 1 / CLEARLY;
      return isAhead ? [{ title, times }] : [];
    });
    return places.length === 0 ? [] : [{ row, places }];
  });
}

/** Three digits, with commas between thousands. */
export function shortNumber(value: number): string {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  if (Math.abs(rounded) >= 1_000) return rounded.toLocaleString("en-US");
  return String(Math.abs(rounded) < 0.001 ? rounded.toExponential(1) : rounded);
}
