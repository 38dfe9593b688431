/** A dead task as text for people, and as a line of JSON for programs. */
import { plainField } from "../amqp/plain_field.ts";
import { encodeBase64 } from "../observe/base64.ts";
import { escapeControls, jsonLine } from "../observe/log.ts";
import { HEADER } from "../task/headers.ts";
import { amqpName, type Field, type Task } from "../task/task.ts";

const { deadReason, error, exitCode, attempt, diedAt, replays } = HEADER;

/** A line that tells it from others. */
export function summaryOf({ id, body, properties: { headers = {} } }: Task): string {
  const facts = [deadReason, error, attempt, diedAt, replays]
    .filter((name) => headers[name] !== undefined)
    .map((name) => `${name.replace("task-", "")}=${JSON.stringify(String(headers[name]))}`);
  return escapeControls([id || "(no id)", ...facts, `bytes=${body.length}`].join(" "));
}

/** All that is known of it, with its body. */
export function detailOf({ properties: { headers = {}, ...properties }, body }: Task): string {
  const own = Object.entries(properties).map(([name, value]) => [amqpName(name), value] as const);
  const lines = [...own, ...Object.entries(headers)].map(([name, value]) => {
    const text = typeof value === "string" ? value : Deno.inspect(value);
    return `${escapeControls(name)}: ${text.split("\n").map(escapeControls).join("\n    ")}\n`;
  });
  const shown = new TextDecoder().decode(body).split("\n").map(escapeControls).join("\n");
  return `${lines.join("")}\n${shown}\n`;
}

/** The same facts as in its summary; what is not known is not there. */
export function summaryLine(task: Task): string {
  return jsonLine(factsOf(task));
}

/** Besides, its properties and its body: `body`, or `body_base64` where that is no text. */
export function detailLine(task: Task): string {
  const { headers = {}, messageId: _id, ...properties } = task.properties;
  const own = Object.entries(properties).map(([name, value]) => [amqpName(name), value]);
  return jsonLine({
    ...factsOf(task),
    ...plainRecord(Object.fromEntries(own)),
    headers: plainRecord(headers),
    ...bodyOf(task.body),
  });
}

function factsOf({ id, body, properties: { headers = {}, type } }: Task) {
  return {
    id: id || undefined,
    type,
    ...plainRecord({
      // Of one that the broker gave up it says why.
      reason: headers[deadReason] ?? headers["x-first-death-reason"],
      error: headers[error],
      exit_code: headers[exitCode],
      attempt: headers[attempt],
      died_at: headers[diedAt],
      replays: headers[replays],
    }),
    bytes: body.length,
  };
}

/** Without what is not there. */
function plainRecord(fields: Readonly<Record<string, Field>>): Record<string, unknown> {
  const there = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(there.map(([name, value]) => [name, plainField(value)]));
}

function bodyOf(body: Uint8Array): { body: string } | { body_base64: string } {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { body_base64: encodeBase64(body) };
  }
}
