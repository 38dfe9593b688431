/** The options of every program that lives long: what its log lines look like. */
import type { Level, LogFormat } from "../observe/log.ts";
import { choice, type Flag } from "./flags.ts";

const format: Flag<LogFormat> = choice({
  group: "watching",
  choices: ["text", "json"],
  default: "text",
  help: "what the lines on stderr are; json: an object each, and one for every task at its end",
});

const level: Flag<Level> = choice({
  group: "watching",
  choices: ["debug", "info", "warn", "error"],
  default: "info",
  help: "the least that is written there",
});

export const LOG_FLAGS = { "log-format": format, "log-level": level };

/** What they say. */
export function readLogStyle(values: { "log-format": LogFormat; "log-level": Level }) {
  return { format: values["log-format"], level: values["log-level"] };
}
