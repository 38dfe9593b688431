/** What an exit status of a command means for its task. */
import { UsageError } from "../errors.ts";

/**
 * - `ack`: the task is done
 * - `retry`: it failed and may work later
 * - `dead`: it will never work
 * - `snooze`: it asks to be run again later
 * - `stop`: the task goes back and the worker ends, as xargs(1) does at 255
 * - `unable`: the shell could not run the command; the task goes back and the worker ends
 */
export type Verdict = "ack" | "retry" | "dead" | "snooze" | "stop" | "unable";

/** Verdicts that differ from `retry`; after qmail, postfix and sysexits(3). */
const TABLE: readonly (readonly [code: number, verdict: Verdict])[] = [
  [0, "ack"],
  [64, "dead"], // EX_USAGE
  [65, "dead"], // EX_DATAERR
  [66, "dead"], // EX_NOINPUT
  [76, "dead"], // EX_PROTOCOL
  [78, "dead"], // EX_CONFIG
  [79, "snooze"], // ours: no system uses it
  [255, "stop"],
];

/** The shell's own: found but not executable, not found. */
const SHELL_TABLE: readonly (readonly [number, Verdict])[] = [[126, "unable"], [127, "unable"]];

/** Exit statuses that mean something else than the table says. */
export interface ExitOverrides {
  readonly ack?: readonly number[];
  readonly retry?: readonly number[];
  readonly dead?: readonly number[];
  readonly stop?: readonly number[];
}

export type ExitRules = ReadonlyMap<number, Verdict>;

/**
 * @param shell 126 and 127 come from a shell that could not run the command
 * @throws {UsageError} when one status is in two overrides
 */
export function exitRules(overrides: ExitOverrides = {}, shell = false): ExitRules {
  const rules = new Map(shell ? [...TABLE, ...SHELL_TABLE] : TABLE);
  const overridden = new Map<number, Verdict>();
  for (const verdict of ["ack", "retry", "dead", "stop"] as const) {
    for (const code of overrides[verdict] ?? []) {
      const other = overridden.get(code);
      if (other !== undefined && other !== verdict) {
        throw new UsageError(
          `the exit status ${code} can mean one thing only, and is in both --${other}-on and --${verdict}-on`,
        );
      }
      overridden.set(code, verdict);
      rules.set(code, verdict);
    }
  }
  return rules;
}

/** The verdict of a status; what no rule names is worth another attempt. */
export function verdictOf(code: number, rules: ExitRules): Verdict {
  return rules.get(code) ?? "retry";
}

/**
 * Reads a list of exit statuses such as "1,3,70-75".
 *
 * @returns undefined when it is none
 */
export function parseExitCodes(text: string): number[] | undefined {
  const codes: number[] = [];
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,3})(?:-(\d{1,3}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last > 255 || first > last) return undefined;
    for (let code = first; code <= last; code++) codes.push(code);
  }
  return codes;
}
