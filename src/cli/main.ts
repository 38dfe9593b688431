/** What every binary does around its story: output, errors as sentences, exit status. */
import { EXIT, reason, ToolError, UsageError } from "../errors.ts";
import {
  createLogger,
  escapeControls,
  type Fields,
  type Level,
  type LogFormat,
  type Logger,
  maskPasswords,
  renderJson,
} from "../observe/log.ts";
import { guardInspector } from "./inspector.ts";
import { Output } from "./output.ts";
import config from "../../deno.json" with { type: "json" };

/** The version of all binaries. */
export const VERSION: string = config.version;

/** How long the end waits for a reader of stderr, in milliseconds. */
const LAST_WORDS_MS = 1_000;

/** The process around a program, as arguments. */
export interface Host {
  /** Name of the binary, for messages: "new_task". */
  readonly name: string;
  readonly args: readonly string[];
  env(name: string): string | undefined;
  /**
   * Writes to stdout; a closed or full stdout is reported once on stderr.
   *
   * @returns what to wait for before printing more, when nobody reads what was printed so far
   */
  print(text: string | Uint8Array): Promise<void> | undefined;
  /** stdout cannot be written any more. */
  readonly unheard: boolean;
  /** Writes to stderr, unless nobody reads it and too much waits already. */
  complain(text: string): void;
  /** Says at once, ahead of what waits, why the process must not go on. */
  lastWords(sentence: string): void;
  /** Says a sentence that must be heard whatever the level of `log` is. */
  say(level: Level, sentence: string, fields?: Fields): void;
  /**
   * Resolves when everything printed is written, or cannot be.
   *
   * @param ms after so many milliseconds what is left is given up; default never
   */
  flushed(ms?: number): Promise<void>;
  readonly log: Logger;
  /** How `log` writes from now on, and what is said of an error that ends the program. */
  logAs(style: LogStyle): void;
}

/** What a program was started with. */
export type Surroundings = Pick<Host, "args" | "env">;

/** What else is known of a program before it runs. */
export interface ProgramOptions {
  /** Default: those of this process. */
  readonly surroundings?: Surroundings;
  /** It is often done within some milliseconds, and never keeps its event loop busy for long. */
  readonly isBrief?: boolean;
}

/** What the options say of log lines. */
export interface LogStyle {
  readonly format: LogFormat;
  /** The least that is written. */
  readonly level: Level;
}

/**
 * Runs a binary: `run` returns the exit status; a ToolError becomes one sentence on stderr and its
 * status, anything else is a fault of ours and becomes status 70.
 *
 * Ends the process, because a connection that hangs must not keep it alive.
 */
export async function runMain(
  name: string,
  run: (host: Host) => Promise<number>,
  { surroundings = { args: Deno.args, env: readVariable }, isBrief = false }: ProgramOptions = {},
): Promise<never> {
  const host = createHost(name, surroundings);
  // A rejection nobody waits for must not kill a worker in the middle of its tasks. Known source:
  // the AMQP client's internal promises when a socket fails.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    host.log.error(`an error reached nobody: ${event.reason}`);
  });
  // What state it left behind, nobody knows; whoever started this starts it again.
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    host.lastWords(describe(event.error));
    Deno.exit(EXIT.internal);
  });
  guardInspector((sentence) => host.lastWords(sentence), isBrief);
  let status: number;
  try {
    status = await run(host);
  } catch (error) {
    status = error instanceof ToolError ? error.exitCode : EXIT.internal;
    host.say("error", describe(error), { status });
  }
  await host.flushed();
  Deno.exit(status);
}

/** One sentence for an error; the stack only for faults of our own. */
function describe(error: unknown): string {
  if (error instanceof ToolError) return maskPasswords(escapeControls(error.message));
  const fault = error instanceof Error ? error.stack ?? error.message : String(error);
  return `a fault in this program, please report it: ${fault}`;
}

/**
 * A variable of the environment.
 *
 * @throws {UsageError} it is not UTF-8
 */
export function readVariable(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.InvalidData || error instanceof TypeError)) throw error;
    throw new UsageError(`${name} must be UTF-8, and is not`, { cause: error });
  }
}

function createHost(name: string, { args, env }: Surroundings): Host {
  const stderr = new Output(Deno.stderr, () => {}); // nowhere is left to say it
  const stdout = new Output(
    Deno.stdout,
    (error) => say("error", `stdout cannot be written any more: ${reason(error)}`),
  );
  let missing = 0;
  function complain(text: string): void {
    if (stderr.full) {
      missing++;
      return;
    }
    const gap = missing;
    missing = 0;
    if (gap > 0) stderr.write(line("warn", `${gap} lines are missing here`));
    stderr.write(text);
  }
  let style: LogStyle = { format: "text", level: "info" };
  let log = createLogger({ name, write: complain });
  /** What is said whatever the level is: a plain sentence, unless all lines are to be JSON. */
  function line(level: Level, sentence: string, fields?: Fields): string {
    return style.format === "json"
      ? renderJson(name, new Date(), level, sentence, fields ?? {})
      : `${name}: ${sentence}\n`;
  }
  function say(...given: Parameters<typeof line>): void {
    complain(line(...given));
  }
  return {
    name,
    args,
    env,
    print: (text) => stdout.write(text),
    get unheard() {
      return stdout.failed;
    },
    complain,
    say,
    lastWords: (sentence) => {
      if (stderr.stalled) return; // it would wait for a reader who does not read
      try {
        Deno.stderr.writeSync(new TextEncoder().encode(line("error", sentence)));
      } catch {
        // Nowhere is left to say it.
      }
    },
    flushed: async (ms) => {
      await stdout.flushed(ms); // its failure is told on stderr
      await stderr.flushed(LAST_WORDS_MS);
    },
    get log() {
      return log;
    },
    logAs: (given) => {
      style = given;
      log = createLogger({ name, write: complain, ...given });
    },
  };
}
