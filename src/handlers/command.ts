/** The handler that runs a command for each task. */
import { idBytes } from "../amqp/client/received_properties.ts";
import { EXIT, reason, ToolError } from "../errors.ts";
import { parseDuration } from "../task/duration.ts";
import {
  type Handler,
  INTERRUPTED,
  LONGEST_PAUSE_MS,
  type Outcome,
  type TaskContext,
} from "../task/handler.ts";
import { isAwaited } from "../task/answer.ts";
import type { Task } from "../task/task.ts";
import { ProgressFile } from "./progress_file.ts";
import { taskEnvironment, taskMetadata, withoutOwnVariables } from "./environment.ts";
import { type ExitOverrides, type ExitRules, exitRules, verdictOf } from "./exit_codes.ts";
import { FormatError } from "./executable.ts";
import { Lookup } from "./lookup.ts";
import {
  type LineStyle,
  type OutputMode,
  OutputRouter,
  type RunOutput,
  SharedWriter,
} from "./output.ts";
import { type GroupStatus, LaunchError, ProcessGroups } from "./process_group.ts";
import { type RunFiles, TaskFiles } from "./task_files.ts";

export interface CommandOptions {
  /**
   * Program and arguments, run without a shell. `{id}`, `{queue}` and `{attempt}` in the arguments
   * are replaced; `{{id}}` stands for `{id}`.
   */
  readonly argv?: readonly string[];
  /**
   * Text for a shell, instead of `argv`. Nothing in it is replaced: an id is a stranger's text, and
   * has to come from "$TASK_ID".
   */
  readonly shell?: string;
  /**
   * What commands inherit, but for the worker's own variables; default this process's environment
   * as it is, from which whoever owns it has dropped those.
   */
  readonly env?: Record<string, string>;
  /** AMQP_URL for a command that sends tasks; absent: it gets none. */
  readonly url?: () => string;
  /** Directory to run in; default the worker's. */
  readonly cwd?: string;
  /** Default `prefix`. */
  readonly output?: OutputMode;
  /** How lines of `prefix` are written; default behind the task's id. */
  readonly lineStyle?: LineStyle;
  readonly exits?: ExitOverrides;
  /** From SIGTERM to SIGKILL, in milliseconds; default 10 s. */
  readonly killAfterMs?: number;
  /** The pause after exit status 79 when the command names none, in milliseconds; default 60 s. */
  readonly snoozeMs?: number;
  /** Descendants that outlive the command are not killed. */
  readonly leaveOrphans?: boolean;
  /** Where the files of tasks are; default TMPDIR. */
  readonly temporary?: string;
  /** Told what goes wrong beside the task itself. */
  readonly warn: (message: string) => void;
}

const DEFAULT_KILL_AFTER_MS = 10_000;
const DEFAULT_SNOOZE_MS = 60_000;

/** Runs commands. Build it once: that checks the command, and its files live as long as it does. */
export class CommandHandler implements Disposable {
  readonly #options: CommandOptions;
  readonly #argv: readonly string[];
  readonly #rules: ExitRules;
  /** undefined: this process's. */
  readonly #env: Record<string, string> | undefined;
  readonly #output: OutputRouter;
  readonly #groups = new ProcessGroups();
  readonly #files: TaskFiles;
  readonly #lookup: Lookup;
  /** Number of the latest run. */
  #run = 0;
  /** Runs that are under way. */
  #running = 0;

  /**
   * @throws {ToolError} with exit status 127 or 126 when the command cannot be run here, 66 when
   *   the directory is missing, 64 when the overrides contradict each other
   */
  constructor(options: CommandOptions) {
    this.#options = options;
    this.#argv = options.shell === undefined ? options.argv! : shellArgv(options.shell);
    this.#rules = exitRules(options.exits, options.shell !== undefined);
    this.#env = options.env && withoutOwnVariables(options.env);
    this.#files = new TaskFiles(options.temporary);
    const stderr = new SharedWriter(Deno.stderr);
    this.#output = new OutputRouter(
      options.output ?? { kind: "prefix" },
      stderr,
      options.warn,
      options.lineStyle,
    );
    this.#lookup = new Lookup({ path: this.#path(), ...this.#directory() });
    this.#findProgram();
  }

  /** The handler. Runs may overlap. */
  readonly handle: Handler = async (task, context) => {
    if (context.signal.aborted) return INTERRUPTED;
    const run = ++this.#run;
    const output = this.#openOutput(run, task, context);
    this.#running++;
    try {
      // It may have changed since the last task, and what is found first in PATH, too.
      const file = this.#running > 1
        ? this.#lookup.findAmongMany(this.#argv[0]!)
        : this.#findProgram();
      const args = this.#argumentsFor(task, context);
      if (args === undefined) return optionLike(task.id);
      using files = this.#files.create(run, taskMetadata(task, context));
      using _progress = context.report && new ProgressFile(files.progress, context.report);
      const status = await this.#groups.run({
        file,
        args,
        env: this.#environment(task, context, files),
        mark: `TASK_META_FILE=${files.meta}`,
        inheritEnv: this.#env === undefined,
        ...this.#directory(),
        input: task.body,
        stdout: output.stdout,
        stderr: output.stderr,
        signal: context.signal,
        killAfterMs: this.#options.killAfterMs ?? DEFAULT_KILL_AFTER_MS,
        leaveOrphans: this.#options.leaveOrphans ?? false,
        launcher: files.launcher,
      });
      return status.stopped
        ? stoppedOutcome(context.signal, status, output)
        : this.#outcome(file, status, output, files);
    } catch (error) {
      // Nothing of the task's own doing throws: what does is this host's.
      return unable(error instanceof LaunchError ? this.#launchFault(error) : error);
    } finally {
      this.#running--;
      await output.close();
    }
  };

  /** SIGKILL to everything that runs, for a worker that has to end at once. */
  killAll(): void {
    const { prefix } = this.#files;
    this.#groups.killAll(prefix && `TASK_META_FILE=${prefix}`);
  }

  [Symbol.dispose](): void {
    this.killAll();
    this.#files[Symbol.dispose]();
  }

  #openOutput(run: number, task: Task, { attempt }: TaskContext): RunOutput {
    const given: Parameters<OutputRouter["open"]> = task.id === ""
      ? [`task-${run}`, attempt]
      : [task.id, attempt, idBytes(task)];
    return isAwaited(task) ? this.#output.openForAnswer(...given) : this.#output.open(...given);
  }

  #outcome(file: string, status: GroupStatus, output: RunOutput, files: RunFiles): Outcome {
    const { code, signal } = status;
    const fault = this.#faultBehind(file, status);
    // Changed since it was looked at, it may have been run as a script of whatever is in it.
    if (fault instanceof FormatError) return unable(fault);
    if (signal !== null) return { kind: "failed", ...failureOf(status, output) };
    switch (verdictOf(code, this.#rules)) {
      case "ack": {
        const done = { kind: "done", exitCode: code } as const;
        if (output.head === undefined) return done;
        const exitCode = code === 0 ? {} : { exitCode: code };
        return { ...done, answer: { ...output.head.answer(), ...exitCode } };
      }
      case "retry": {
        return fault !== undefined && MAYBE_UNABLE.has(code)
          ? unable(fault)
          : { kind: "failed", ...failureOf(status, output) };
      }
      case "dead":
        return { kind: "rejected", ...failureOf(status, output) };
      case "snooze":
        return { kind: "snoozed", delayMs: this.#snoozeMs(files.takeSnooze()) };
      case "stop":
        return unable(
          new ToolError(`the command stops the worker (exit ${code})`, EXIT.temporary),
          code,
        );
      case "unable": {
        // A command with --output inherit says it elsewhere.
        const failure = failureOf(status, output);
        const why = failure.stderrTail.trimEnd().split("\n").at(-1) || failure.reason;
        return unable(new ToolError(`the shell cannot run the command: ${why}`, code), code);
      }
    }
  }

  /** Why a file that was run cannot be executed any more; undefined: it can, or that says nothing. */
  #faultBehind(file: string, { code, isDirect }: GroupStatus): ToolError | undefined {
    const isSure = isDirect && !MAYBE_UNABLE.has(code) && this.#lookup.isProgram(file);
    return isSure ? undefined : this.#lookup.faultOf(file);
  }

  #environment(task: Task, context: TaskContext, files: RunFiles): Record<string, string> {
    const url = this.#options.url?.();
    return {
      ...this.#env,
      ...(url === undefined ? {} : { AMQP_URL: url }),
      ...taskEnvironment(task, context, files),
    };
  }

  /** undefined: the id, which is a stranger's text, would be an option of the command. */
  #argumentsFor(task: Task, context: TaskContext): string[] | undefined {
    const given = this.#argv.slice(1);
    if (this.#options.shell !== undefined) return given;
    // No argument can hold a NUL character.
    const id = task.id.replaceAll("\0", "");
    const options = given.slice(0, (given.indexOf("--") + 1 || given.length + 1) - 1);
    if (id.startsWith("-") && options.some((argument) => argument.startsWith("{id}"))) {
      return undefined;
    }
    const values: Record<string, string> = {
      "{id}": id,
      "{queue}": task.queue.replaceAll("\0", ""),
      "{attempt}": String(context.attempt),
    };
    return given.map((argument) =>
      argument.replace(PLACEHOLDER, (name, bare) => bare ?? values[name]!)
    );
  }

  #snoozeMs(asked: string | undefined): number {
    const fallback = this.#options.snoozeMs ?? DEFAULT_SNOOZE_MS;
    if (asked === undefined || asked === "") return fallback;
    const ms = parseDuration(asked);
    if (ms !== undefined && ms > 0 && ms <= LONGEST_PAUSE_MS) return ms;
    this.#options.warn(`TASK_SNOOZE_FILE must hold a time such as 90s, and holds ${quote(asked)}`);
    return fallback;
  }

  /** What we can say of a program that the system does not execute, or else the system's words. */
  #launchFault({ message, missing }: LaunchError): ToolError {
    try {
      const file = this.#findProgram();
      return new ToolError(
        `the command must be executable, and ${quote(file)} is not: ${message}`,
        missing ? EXIT.notFound : EXIT.notExecutable,
      );
    } catch (fault) {
      return fault as ToolError;
    }
  }

  #findProgram(): string {
    return this.#lookup.find(this.#argv[0]!);
  }

  #path(): string {
    return (this.#env === undefined ? Deno.env.get("PATH") : this.#env.PATH) || "/usr/bin:/bin";
  }

  #directory(): { cwd?: string } {
    return this.#options.cwd === undefined ? {} : { cwd: this.#options.cwd };
  }
}

/** What a launcher exits with when the program has vanished, and what the program itself may. */
const MAYBE_UNABLE: ReadonlySet<number> = new Set([EXIT.notExecutable, EXIT.notFound]);

/** `{{id}}`, the escape, of which the inner part is kept; or `{id}`. */
const PLACEHOLDER = /\{(\{(?:id|queue|attempt)\})\}|\{(?:id|queue|attempt)\}/g;

/** The outcome of a task that would hand an option to the command. */
function optionLike(id: string): Outcome {
  const why = `the id ${quote(id)} would be an option of the command; "--" before {id} allows it`;
  return { kind: "rejected", reason: "option-like id", stderrTail: why };
}

function shellArgv(text: string): string[] {
  return Deno.build.os === "windows" ? ["cmd", "/d", "/s", "/c", text] : ["/bin/sh", "-c", text];
}

/** The outcome of a command that we have told to stop, whatever it made of that. */
function stoppedOutcome(signal: AbortSignal, status: GroupStatus, output: RunOutput): Outcome {
  return signal.reason?.name === "TimeoutError"
    ? { kind: "failed", ...failureOf(status, output), reason: "timeout" }
    : INTERRUPTED;
}

function failureOf({ code, signal }: GroupStatus, output: RunOutput) {
  return {
    reason: signal === null ? `exit ${code}` : `signal ${signal}`,
    exitCode: code,
    stderrTail: output.tail(),
  };
}

/** @param commandStatus the command's, where it ran */
function unable(error: unknown, commandStatus?: number): Outcome {
  const ran = commandStatus === undefined ? {} : { commandStatus };
  return error instanceof ToolError
    ? { kind: "unable", reason: error.message, exitCode: error.exitCode, ...ran }
    : {
      kind: "unable",
      reason: `the command cannot be started here: ${reason(error)}`,
      exitCode: EXIT.temporary,
      ...ran,
    };
}

function quote(text: string): string {
  return JSON.stringify(text);
}
