/** What is wrong with a record, in one sentence. */
import { EXIT, ToolError } from "../errors.ts";

/** Longest value that an error shows, in UTF-16 code units. */
const MOST_SHOWN = 60;

/** A record that cannot be sent: which field, what it must be, and what it is. */
export class RecordError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "RecordError";
  /** `field` is its name, as "headers.size"; "" for the record itself. */
  constructor(readonly field: string, requirement: string, state: string) {
    super(`${field || "a record"} must ${requirement}, and ${state}`, EXIT.badData);
  }
}

/** @throws {RecordError} no text, or half a surrogate pair, which UTF-8 cannot hold */
export function wellFormed(path: string, value: unknown): string {
  if (typeof value !== "string") throw new RecordError(path, "be text", `is ${shown(value)}`);
  if (value.isWellFormed()) return value;
  throw new RecordError(path, "be Unicode text", "has half a surrogate pair");
}

/** @throws {RecordError} */
export function requireObject(path: string, value: unknown): asserts value is object {
  const is = typeof value === "object" && value !== null && !Array.isArray(value);
  if (is) return;
  throw new RecordError(path, "be a JSON object", `is ${shown(value)}`);
}

/** A value for an error: short, whatever it is. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date that is none";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  return value.length > MOST_SHOWN
    ? `${JSON.stringify(value.slice(0, MOST_SHOWN))}... (${value.length} characters)`
    : JSON.stringify(value);
}
