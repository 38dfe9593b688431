/**
 * Real processes under test: output collected line by line, waiting for a line, signals, exit
 * status. `await using` one; a process that the test leaves running is killed and fails the test.
 */
import { killMarked, newMark } from "./descendants.ts";
import { unless } from "./unless.ts";
import { STEP_MS, waitUntil, within } from "./wait.ts";

export interface ProcessOptions {
  args?: readonly string[];
  /** Added to this process's environment; undefined removes a name. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** Bytes for stdin, then its end; "open" leaves it open for `write` and `endInput`. */
  stdin?: Uint8Array | string | "open";
  /** The test ends it on purpose by leaving the block (servers, for instance): no failure. */
  killOnDispose?: boolean;
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
  readonly signal: Deno.Signal | null;
}

interface LineWaiter {
  readonly pattern: RegExp;
  readonly resolve: (match: RegExpMatchArray) => void;
  readonly reject: (error: Error) => void;
}

/** One output stream as text and as complete lines. */
class LineLog {
  readonly lines: string[] = [];
  text = "";
  #partial = "";
  #ended = false;
  readonly #waiters = new Set<LineWaiter>();

  constructor(readonly name: string) {}

  async readAll(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#add(decoder.decode(chunk, { stream: true }));
    this.#add(decoder.decode());
    if (this.#partial !== "") this.#line(this.#partial);
    this.#ended = true;
    for (const waiter of this.#waiters) {
      waiter.reject(new Error(`${this.name} ended without ${waiter.pattern}:\n${this.text}`));
    }
  }

  waitFor(pattern: RegExp, from: number, ms: number): Promise<RegExpMatchArray> {
    for (const line of this.lines.slice(from)) {
      const match = line.match(pattern);
      if (match) return Promise.resolve(match);
    }
    if (this.#ended) {
      return Promise.reject(new Error(`${this.name} ended without ${pattern}:\n${this.text}`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
    const waiter = { pattern, resolve, reject };
    this.#waiters.add(waiter);
    return within(`a line ${pattern} on ${this.name}`, promise, ms)
      .catch((error: Error) => {
        error.message += `; got:\n${this.text}`;
        throw error;
      })
      .finally(() => this.#waiters.delete(waiter));
  }

  #add(text: string): void {
    this.text += text;
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop()!;
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    this.lines.push(line);
    for (const waiter of this.#waiters) {
      const match = line.match(waiter.pattern);
      if (match) waiter.resolve(match);
    }
  }
}

/** Milliseconds until a process that was killed has closed its pipes, if nobody else has them. */
const CLOSE_MS = 1_000;

export class TestProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #mark = newMark();
  readonly #stdout: LineLog;
  readonly #stderr: LineLog;
  readonly #output: Promise<Output>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  readonly #killOnDispose: boolean;
  #running = true;
  #isOver = false;

  constructor(readonly name: string, command: string, options: ProcessOptions = {}) {
    const env = { ...Deno.env.toObject(), ...this.#mark };
    for (const [key, value] of Object.entries(options.env ?? {})) {
      if (value === undefined) delete env[key];
      else env[key] = value;
    }
    this.#child = new Deno.Command(command, {
      args: [...options.args ?? []],
      env,
      clearEnv: true,
      ...(options.cwd ? { cwd: options.cwd } : {}),
      stdin: options.stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#killOnDispose = options.killOnDispose ?? false;
    this.#stdout = new LineLog(`stdout of ${name}`);
    this.#stderr = new LineLog(`stderr of ${name}`);
    this.#output = this.#collect();
    this.#output.catch(() => {}); // whoever awaits `output` gets it
    if (options.stdin !== undefined) {
      this.#input = this.#child.stdin.getWriter();
      if (options.stdin !== "open") this.#feed(options.stdin);
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Complete lines so far. */
  get stdout(): readonly string[] {
    return this.#stdout.lines;
  }

  get stderr(): readonly string[] {
    return this.#stderr.lines;
  }

  /** Waits for a line of stdout, past ones included. */
  waitForLine(pattern: RegExp, ms = STEP_MS, from = 0): Promise<RegExpMatchArray> {
    return this.#orExplain(this.#stdout.waitFor(pattern, from, ms));
  }

  /** Waits for a line of stderr, past ones included. */
  waitForLog(pattern: RegExp, ms = STEP_MS, from = 0): Promise<RegExpMatchArray> {
    return this.#orExplain(this.#stderr.waitFor(pattern, from, ms));
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    await this.#input!.write(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
  }

  async endInput(): Promise<void> {
    await this.#input!.close();
  }

  /** Sends a signal; to a process that has ended, nothing. */
  kill(signal: Deno.Signal = "SIGTERM"): void {
    if (!this.#running) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended, and nobody has been told yet.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Waits for the process to end by itself. */
  ended(ms = STEP_MS): Promise<Output> {
    return this.#orExplain(within(`${this.name} to end`, this.#output, ms));
  }

  /** SIGKILL, and waits for the end: of its pipes, too, which a child of its own may keep open. */
  async destroy(): Promise<Output> {
    this.kill("SIGKILL");
    return await within(`${this.name} and all that has its pipes to end`, this.#output);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const isLeft = this.#running;
    this.kill("SIGKILL");
    await within("", this.#output, CLOSE_MS).catch(() => {});
    await waitUntil(`${this.name} and all that has its pipes to end`, () => {
      // A shell that was killed may have left its children.
      if (!this.#isOver) killMarked(this.#mark);
      return this.#isOver;
    });
    if (!isLeft || this.#killOnDispose) return;
    const complaint = `The test left ${this.name} running; its stderr:\n${this.#stderr.text}`;
    const runDir = Deno.env.get("TEST_RUN_DIR");
    if (runDir === undefined) throw new Error(complaint);
    // Thrown here it would hide what the test failed with; the run fails by what lies there.
    await Deno.writeTextFile(`${runDir}/running: ${this.name} ${this.pid}`, complaint);
  }

  async #collect(): Promise<Output> {
    const [status] = await Promise.all([
      this.#child.status.then((status) => {
        this.#running = false;
        return status;
      }),
      this.#stdout.readAll(this.#child.stdout),
      this.#stderr.readAll(this.#child.stderr),
    ]);
    await this.#input?.close().catch(() => {}); // closed or broken already
    this.#isOver = true;
    return {
      stdout: this.#stdout.text,
      stderr: this.#stderr.text,
      code: status.code,
      signal: status.signal,
    };
  }

  async #feed(input: Uint8Array | string): Promise<void> {
    try {
      await this.write(input);
      await this.endInput();
    } catch (error) {
      // It need not read it all. A TypeError says that the stream had ended before.
      if (!(error instanceof Deno.errors.BrokenPipe || error instanceof TypeError)) throw error;
    }
  }

  async #orExplain<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise;
    } catch (error) {
      if (error instanceof Error && this.#stderr.text !== "") {
        error.message += `\nstderr of ${this.name}:\n${this.#stderr.text}`;
      }
      throw error;
    }
  }
}

/** Starts a program. */
export function spawn(command: string, options: ProcessOptions = {}): TestProcess {
  return new TestProcess(command.split("/").at(-1)!, command, options);
}

/** Starts a TypeScript or JavaScript program with this deno and all permissions. */
export function spawnDeno(script: string | URL, options: ProcessOptions = {}): TestProcess {
  const path = script instanceof URL ? script.pathname : script;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  return new TestProcess(path.split("/").at(-1)!, Deno.execPath(), {
    ...options,
    args: ["run", "--quiet", "--no-prompt", "-A", "--config", config, path, ...options.args ?? []],
  });
}

/** Runs a program to its end, for at most `timeoutMs` (default: a minute). */
export async function run(
  command: string,
  options: ProcessOptions & { timeoutMs?: number } = {},
): Promise<Output> {
  await using child = spawn(command, options);
  return await child.ended(options.timeoutMs ?? 60_000);
}

/** Declares a test that needs a program, and says so in its name where it is not installed. */
export function programTest(program: string, name: string, fn: () => Promise<void>): void {
  Deno.test({ ...stepWith(program, name), fn });
}

/** Name and state of a step that needs a program. */
export function stepWith(program: string, name: string): { name: string; ignore: boolean } {
  return unless(installed(program) ? undefined : `${program} is not installed`, name);
}

/** Whether a program can be found on PATH (or at its absolute path). */
export function installed(command: string): boolean {
  const folders = command.includes("/") ? [""] : (Deno.env.get("PATH") ?? "").split(":");
  for (const folder of folders) {
    try {
      if (Deno.statSync(folder ? `${folder}/${command}` : command).isFile) return true;
    } catch {
      // not in this folder
    }
  }
  return false;
}
