/** The tools as their users run them: real processes, with exactly the permissions they have. */
import { AssertionError } from "@std/assert";
import { type Output, type ProcessOptions, spawn, type TestProcess } from "../support/process.ts";
import { toolCommand } from "../support/tools.ts";

export type Tool = "new_task" | "worker";

export interface ToolOptions extends ProcessOptions {
  /** AMQP_URL; absent: the tool sees none. */
  readonly url?: string;
  /** WORK_QUEUE; absent: the tool sees none. */
  readonly queue?: string;
}

/** The command line that runs a tool. */
export function commandOf(tool: Tool, args: readonly string[] = []): [string, ...string[]] {
  return toolCommand(tool, args);
}

/** Starts a tool; `await using` it. */
export function start(
  tool: Tool,
  args: readonly string[] = [],
  { url, queue, ...options }: ToolOptions = {},
): TestProcess {
  const [command, ...rest] = commandOf(tool, args);
  return spawn(command, {
    ...options,
    args: rest,
    env: { AMQP_URL: url, WORK_QUEUE: queue, ...options.env },
  });
}

/** Runs a tool to its end. */
export async function finish(
  tool: Tool,
  args: readonly string[] = [],
  options: ToolOptions = {},
): Promise<Output> {
  await using process = start(tool, args, options);
  return await process.ended();
}

/**
 * Runs a tool to its end in a line of sh, where "$@" is the tool with its arguments.
 *
 * @param meanwhile what to wait for before the line's stdin gets a newline and ends
 */
export async function finishInShell(
  line: string,
  tool: Tool,
  args: readonly string[],
  url: string,
  queue?: string,
  meanwhile?: () => Promise<void>,
): Promise<Output> {
  await using shell = spawn("/bin/sh", {
    args: ["-c", line, "sh", ...commandOf(tool, args)],
    env: { AMQP_URL: url, WORK_QUEUE: queue },
    ...(meanwhile ? { stdin: "open" } : {}),
  });
  if (meanwhile) {
    try {
      await meanwhile();
    } finally {
      // What failed here leaves no tool behind that nobody ends.
      await shell.write("\n");
      await shell.endInput();
    }
  }
  return await shell.ended();
}

/** Sends a task and fails unless that went well, without a word on stderr. */
export async function send(words: readonly string[], options: ToolOptions): Promise<Output> {
  const output = await finish("new_task", words, options);
  if (output.code === 0 && output.stderr === "") return output;
  throw new AssertionError(`new_task ended with ${output.code}:\n${output.stderr}`);
}

/** Ends a worker in order: everything it did is acknowledged. */
export async function stop(worker: TestProcess): Promise<Output> {
  worker.kill("SIGTERM");
  const output = await worker.ended();
  if (output.code === 0) return output;
  throw new AssertionError(`the worker ended with ${output.code}:\n${output.stderr}`);
}

/** Work that lasts as long as the test wants it to, and prints the tutorial's lines. */
export interface HeldWork {
  /** The arguments of a worker that does it. */
  readonly args: readonly string[];
  /** All that runs ends, and what comes ends at once. */
  letGo(): Promise<void>;
}

/** @param folder where its files go */
export async function heldWork(folder: string): Promise<HeldWork> {
  const [handler, go] = [`${folder}/held.js`, `${folder}/go`];
  await Deno.writeTextFile(
    handler,
    `export default async (task) => {
      console.log(" [x] Received " + task.text());
      while (!await Deno.stat(${JSON.stringify(go)}).catch(() => false)) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      console.log(" [x] Done");
    };`,
  );
  return { args: ["--handler", handler], letGo: () => Deno.writeTextFile(go, "") };
}

/** Tasks that a worker has received, as it printed them. */
export function received(worker: TestProcess): string[] {
  const prefix = " [x] Received ";
  return worker.stdout.filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}

/** How many tasks workers have done. */
export function done(...workers: readonly TestProcess[]): number {
  return workers.flatMap(({ stdout }) => stdout).filter((line) => line === " [x] Done").length;
}

/** Rows that run at the same time; the machine has few cores. */
const WIDTH = 4;

/**
 * Runs a check for every row, some at a time, and fails with all that failed.
 *
 * @param label names a row in the failure
 */
export async function forEachRow<R>(
  rows: readonly R[],
  label: (row: R) => string,
  check: (row: R) => Promise<void>,
): Promise<void> {
  const failures: string[] = [];
  const left = [...rows];
  async function take(): Promise<void> {
    for (let row = left.shift(); row !== undefined; row = left.shift()) {
      await check(row).catch((error) => failures.push(`${label(row)}: ${causeOf(error).message}`));
    }
  }
  await Promise.all(Array.from({ length: WIDTH }, take));
  if (failures.length > 0) throw new AssertionError(failures.join("\n\n"));
}

/** What went wrong first, when the end of a process failed the row a second time. */
function causeOf(error: Error): Error {
  return error instanceof SuppressedError ? causeOf(error.suppressed) : error;
}
