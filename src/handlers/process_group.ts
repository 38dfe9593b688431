/**
 * A child process that leads a process group of its own, so that a signal reaches its children
 * too, and a Ctrl-C at the worker's terminal does not reach the task.
 */
import { EXIT, reason } from "../errors.ts";
import { signalStrays } from "./strays.ts";

/** How long the pipes stay open after the leader has exited while a descendant holds them. */
const PIPE_GRACE_MS = 1_000;

/** Runs a program as the leader of a new session: util-linux, busybox. */
const SETSID = "/usr/bin/setsid";

/**
 * Takes what a child writes; nothing more is read from it until the promise resolves. It never
 * rejects: where the output cannot go is no reason to end the work.
 */
export type Sink = (chunk: Uint8Array) => Promise<void>;

export interface GroupOptions {
  /** Absolute path, or on Windows a name. */
  readonly file: string;
  readonly args: readonly string[];
  /** Environment of the child. */
  readonly env: Record<string, string>;
  /** "NAME=VALUE" out of `env` that no other run has: what leaves the group is found by it. */
  readonly mark?: string;
  /** It comes on top of this process's own; default: it is all that the child gets. */
  readonly inheritEnv?: boolean;
  readonly cwd?: string;
  /** Written to stdin, followed by the end of file. A child that does not read it is not at fault. */
  readonly input: Uint8Array;
  readonly stdout: Sink | "inherit" | "null";
  readonly stderr: Sink | "inherit" | "null";
  /** Aborted: SIGTERM to the group, and after `killAfterMs` SIGKILL. */
  readonly signal: AbortSignal;
  readonly killAfterMs: number;
  /** Descendants that are left when the leader has exited are not killed. */
  readonly leaveOrphans?: boolean;
}

/** How the leader ended. */
export interface GroupStatus {
  /** Exit status; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  readonly signal: Deno.Signal | null;
  /** It ended after `signal` was aborted. */
  readonly stopped: boolean;
}

/** The system does not execute the file; nothing of it has run. */
export class LaunchError extends Error {
  override readonly name = "LaunchError";
  /** @param missing the file, or what it needs to run, is not there */
  constructor(why: string, readonly missing: boolean, options?: ErrorOptions) {
    super(why, options);
  }
}

/** All groups that one owner has started, so that it can end them at once. */
export class ProcessGroups {
  readonly #leaders = new Set<number>();
  /**
   * Deno's `detached` forks a process with V8's whole memory, which costs 1 to 2 ms of CPU time a
   * task and grows with the worker; without it Deno uses posix_spawn(3), and setsid(1) is a
   * fraction of a millisecond.
   */
  readonly #launcher: string | undefined = Deno.build.os === "linux" && isFile(SETSID)
    ? SETSID
    : undefined;

  /**
   * Starts a group and waits until its leader has exited and the pipes are closed.
   *
   * @throws {LaunchError} the file cannot be executed
   * @throws {Error} this host has no process, memory or file left for it
   */
  async run(options: GroupOptions): Promise<GroupStatus> {
    // What it cannot execute, the launcher says on stderr, and exits as a command may.
    const launcher = typeof options.stderr === "function" ? this.#launcher : undefined;
    const child = this.#start(options, launcher);
    this.#leaders.add(child.pid);
    const stop = new GroupStop(child.pid, options.killAfterMs, options.mark);
    options.signal.addEventListener("abort", stop.begin, { once: true });
    if (options.signal.aborted) stop.begin();
    const pipes: Pipe[] = [];
    if (typeof options.stdout === "function") pipes.push(new Pipe(child.stdout, options.stdout));
    const complaint = new FirstBytes();
    if (typeof options.stderr === "function") {
      const sink = options.stderr;
      pipes.push(
        new Pipe(
          child.stderr,
          launcher === undefined ? sink : (chunk) => {
            complaint.add(chunk);
            return sink(chunk);
          },
        ),
      );
    }
    const feeding = options.input.length > 0 ? feed(child.stdin, options.input) : undefined;
    try {
      const { code, signal } = await child.status;
      const stopped = stop.begun;
      // From now on it is too late: what it did is done.
      options.signal.removeEventListener("abort", stop.begin);
      feeding?.abort();
      await within(PIPE_GRACE_MS, Promise.all(pipes.map((pipe) => pipe.ended)));
      const why = launcher && launcherFault(code, complaint.text, options.file);
      if (why !== undefined) throw new LaunchError(why, code === EXIT.notFound);
      return { code, signal, stopped };
    } finally {
      options.signal.removeEventListener("abort", stop.begin);
      stop.end();
      if (!options.leaveOrphans) signalGroup(child.pid, "SIGKILL", true);
      this.#leaders.delete(child.pid);
      if (stop.begun && !options.leaveOrphans && options.mark !== undefined) {
        await signalStrays(options.mark, "KILL");
      }
      await Promise.all(pipes.map((pipe) => pipe.close()));
    }
  }

  /**
   * SIGKILL to every group, at once. Their runs end as they do for any signal.
   *
   * @param marks the beginning of the marks of all
   */
  killAll(marks?: string): void {
    if (this.#leaders.size > 0 && marks !== undefined) void signalStrays(marks, "KILL");
    for (const pid of this.#leaders) signalGroup(pid, "SIGKILL");
  }

  #start(options: GroupOptions, launcher: string | undefined): Deno.ChildProcess {
    try {
      return this.#spawn(options, launcher);
    } catch (error) {
      const launcherGone = launcher !== undefined && !isFile(launcher);
      if (launcherGone) return this.#start(options, undefined);
      throw launchErrorOf(error);
    }
  }

  #spawn(options: GroupOptions, launcher: string | undefined): Deno.ChildProcess {
    const args = launcher === undefined ? options.args : [options.file, ...options.args];
    return new Deno.Command(launcher ?? options.file, {
      args: [...args],
      env: options.env,
      clearEnv: !(options.inheritEnv ?? false),
      detached: launcher === undefined && Deno.build.os !== "windows",
      stdin: options.input.length > 0 ? "piped" : "null",
      stdout: typeof options.stdout === "function" ? "piped" : options.stdout,
      stderr: typeof options.stderr === "function" ? "piped" : options.stderr,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }).spawn();
  }
}

/** Error numbers of a host that is short of something: EAGAIN, ENOMEM, ENFILE, EMFILE. */
const SHORTAGES: ReadonlySet<number> = new Set([11, 12, 23, 24, 35]);

/** What the system says of a file that it was to execute, or the error as it is. */
function launchErrorOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const number = Number(/\(os error (\d+)\)/.exec(error.message)?.[1] ?? NaN);
  const missing = error instanceof Deno.errors.NotFound;
  if (!missing && (Number.isNaN(number) || SHORTAGES.has(number))) return error;
  const why = reason(error).replace(/^failed to spawn '.*?': /s, "");
  return new LaunchError(reason(why), missing, { cause: error });
}

/**
 * Why setsid(1) could not execute the file, in its own words: of util-linux "setsid: failed to
 * execute FILE: Permission denied", of busybox "setsid: can't execute 'FILE': Permission denied", and
 * in the user's language.
 */
function launcherFault(code: number, stderr: string, file: string): string | undefined {
  if (code !== EXIT.notExecutable && code !== EXIT.notFound) return undefined;
  if (!stderr.startsWith("setsid: ") || !stderr.includes(file)) return undefined;
  const behind = stderr.slice(stderr.lastIndexOf(file) + file.length);
  const why = /^[^:\n]*: ([^\n]*)\n$/.exec(behind)?.[1];
  return why === undefined ? undefined : reason(why);
}

/** The beginning of a stream, as text; longer than any complaint of a launcher. */
class FirstBytes {
  #bytes = new Uint8Array();
  #length = 0;

  add(chunk: Uint8Array): void {
    if (this.#length === 0) this.#bytes = new Uint8Array(5_000);
    const part = chunk.subarray(0, this.#bytes.length - this.#length);
    this.#bytes.set(part, this.#length);
    this.#length += part.length;
  }

  get text(): string {
    return new TextDecoder().decode(this.#bytes.subarray(0, this.#length));
  }
}

/** What is read of a pipe first, in bytes: most commands say little, and many nothing. */
const FIRST_READ_BYTES = 4_096;

/** What is read of it when there is more: all that a pipe of Linux holds. */
const READ_BYTES = 65_536;

/** The reading end of a child's stdout or stderr. */
class Pipe {
  /** Resolves when everybody has closed the writing end, or this end was closed. */
  readonly ended: Promise<void>;
  readonly #reader: ReadableStreamBYOBReader;

  constructor(stream: ReadableStream<Uint8Array>, sink: Sink) {
    this.#reader = stream.getReader({ mode: "byob" });
    this.ended = this.#pump(sink);
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
    await this.ended;
  }

  async #pump(sink: Sink): Promise<void> {
    for (let size = FIRST_READ_BYTES;;) {
      const { done, value } = await this.#reader.read(new Uint8Array(size));
      if (done) return;
      if (value.length === size) size = READ_BYTES;
      await sink(value);
    }
  }
}

/** Ends a group with SIGTERM and then, if need be, SIGKILL. */
class GroupStop {
  begun = false;
  readonly #pid: number;
  readonly #killAfterMs: number;
  readonly #mark: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(pid: number, killAfterMs: number, mark: string | undefined) {
    this.#pid = pid;
    this.#mark = mark;
    this.#killAfterMs = killAfterMs;
  }

  readonly begin: () => void = () => {
    this.begun = true;
    signalGroup(this.#pid, "SIGTERM");
    if (this.#mark !== undefined) void signalStrays(this.#mark, "TERM", this.#pid);
    // A stopped process cannot act on SIGTERM.
    if (Deno.build.os !== "windows") signalGroup(this.#pid, "SIGCONT");
    this.#timer = setTimeout(() => signalGroup(this.#pid, "SIGKILL"), this.#killAfterMs);
  };

  end(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Signals a whole group; when there is none its leader alone, which has then not yet made one.
 *
 * @param reaped the leader is gone, and its number may be somebody else's
 */
function signalGroup(pid: number, signal: Deno.Signal, reaped = false): void {
  if (Deno.build.os === "windows") return reaped ? undefined : killTree(pid);
  try {
    Deno.kill(-pid, signal);
  } catch {
    if (!reaped) signalLeader(pid, signal);
  }
}

function signalLeader(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

/** Windows has no process groups: taskkill ends a process and its descendants. */
function killTree(pid: number): void {
  const { success } = new Deno.Command("taskkill", {
    args: ["/pid", String(pid), "/t", "/f"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  if (!success) signalLeader(pid, "SIGKILL");
}

/** Writes to stdin in the background; errors mean that the child does not read. */
function feed(stdin: WritableStream<Uint8Array>, input: Uint8Array): { abort(): void } {
  const writer = stdin.getWriter();
  let isOver = false;
  writer.write(input as Uint8Array<ArrayBuffer>).then(() => writer.close()).catch(() => {})
    .finally(() => isOver = true);
  return {
    abort: () => {
      if (!isOver) writer.abort().catch(() => {});
    },
  };
}

async function within(ms: number, done: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([done, promise]);
  clearTimeout(timer);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
