/** Values of AMQP tables as JSON has them. */
import { encodeBase64 } from "../observe/base64.ts";
import type { Field } from "../task/task.ts";

/** A value as JSON has it: big integers as text, bytes as `{"base64": ...}`. */
export function plainField(field: Field): unknown {
  if (typeof field === "bigint") {
    return Number.isSafeInteger(Number(field)) ? Number(field) : String(field);
  }
  if (field instanceof Date) return Number.isNaN(field.getTime()) ? null : field.toISOString();
  if (field instanceof Uint8Array) return { base64: encodeBase64(field) };
  if (Array.isArray(field)) return field.map(plainField);
  if (typeof field === "object" && field !== null) {
    return Object.fromEntries(
      Object.entries(field).map(([name, inner]) => [name, plainField(inner)]),
    );
  }
  return field ?? null;
}
