/**
 * A child process that leads a process group of its own, so that a signal reaches its children
 * too, and a Ctrl-C at the worker's terminal does not reach the task.
 */
import { EXIT, reason } from "../errors.ts";
import type { Launcher } from "./launcher.ts";
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
  /** What makes it a leader, where there is one. */
  readonly launcher?: Launcher | undefined;
}

/** How the leader ended. */
export interface GroupStatus {
  /** Exit status; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  readonly signal: Deno.Signal | null;
  /** It ended after `signal` was aborted. */
  readonly stopped: boolean;
  /** The system has executed the file itself: nobody else has read it as a script. */
  readonly isDirect: boolean;
}

/** The system does not execute the file; nothing of it has run. */
export class LaunchError extends Error {
  override readonly name = "LaunchError";
  /** @param missing the file, or what it needs to run, is not there */
  constructor(why: string, readonly missing: boolean, options?: ErrorOptions) {
    super(why, options);
  }
}

/**
 * A program that makes a session and becomes another one. Without one there is Deno's `detached`,
 * which forks a process with V8's whole memory: 1 to 2 ms of CPU time a task, and more as the worker
 * grows. With one Deno uses posix_spawn(3).
 */
type Starter = Launcher | typeof SETSID;

/** A child, and what started it. */
interface Started {
  readonly child: Deno.ChildProcess;
  readonly starter: Starter | undefined;
}

/** All groups that one owner has started, so that it can end them at once. */
export class ProcessGroups {
  readonly #leaders = new Set<number>();
  readonly #setsid: readonly Starter[] = Deno.build.os === "linux" && isFile(SETSID)
    ? [SETSID]
    : [];
  /** What could not be started: the disk of a launcher may forbid programs. */
  #useless: Starter | undefined;

  /**
   * Starts a group and waits until its leader has exited and the pipes are closed.
   *
   * @throws {LaunchError} the file cannot be executed
   * @throws {Error} this host has no process, memory or file left for it
   */
  async run(options: GroupOptions): Promise<GroupStatus> {
    if (options.launcher?.works === undefined) await options.launcher?.tryOut();
    const status = await this.#run(options, this.#startersFor(options));
    // Without a launcher the system says why, or it was for a moment.
    return status ?? (await this.#run(options, []))!;
  }

  /** @returns undefined: the launcher could not execute the file */
  async #run(
    options: GroupOptions,
    starters: readonly Starter[],
  ): Promise<GroupStatus | undefined> {
    const { child, starter } = this.#start(options, starters);
    this.#leaders.add(child.pid);
    const stop = new GroupStop(child.pid, options.killAfterMs, options.mark);
    options.signal.addEventListener("abort", stop.begin, { once: true });
    if (options.signal.aborted) stop.begin();
    const pipes: Pipe[] = [];
    if (typeof options.stdout === "function") pipes.push(new Pipe(child.stdout, options.stdout));
    const complaint = new Complaint(starter, options.file);
    if (typeof options.stderr === "function") {
      pipes.push(new Pipe(child.stderr, complaint.heardBefore(options.stderr)));
    }
    const feeding = options.input.length > 0 ? feed(child.stdin, options.input) : undefined;
    try {
      const { code, signal } = await child.status;
      const stopped = stop.begun;
      // From now on it is too late: what it did is done.
      options.signal.removeEventListener("abort", stop.begin);
      feeding?.abort();
      // Mostly none is, and a timer for each would be a part of a short run.
      const open = pipes.filter((pipe) => !pipe.isOver);
      if (open.length > 0) await within(PIPE_GRACE_MS, Promise.all(open.map((pipe) => pipe.ended)));
      if (complaint.hasNotRun) return undefined;
      const why = complaint.of(code);
      if (why !== undefined) throw new LaunchError(why, code === EXIT.notFound);
      return { code, signal, stopped, isDirect: starter !== undefined && starter !== SETSID };
    } finally {
      options.signal.removeEventListener("abort", stop.begin);
      stop.end();
      if (!options.leaveOrphans) signalGroup(child.pid, "SIGKILL", true);
      this.#leaders.delete(child.pid);
      if (stop.begun && !options.leaveOrphans && options.mark !== undefined) {
        await signalStrays(options.mark, "KILL");
      }
      await Promise.all(pipes.map((pipe) => pipe.isOver ? undefined : pipe.close()));
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

  /** The cheapest first. */
  #startersFor({ launcher, stderr }: GroupOptions): readonly Starter[] {
    // What they cannot execute, they say on stderr.
    if (typeof stderr !== "function") return [];
    if (launcher?.works && launcher !== this.#useless) return [launcher, ...this.#setsid];
    return this.#setsid;
  }

  #start(options: GroupOptions, starters: readonly Starter[]): Started {
    for (const starter of [...starters, undefined]) {
      try {
        const child = spawn(options, starter);
        // What fails where another way does not is not tried again.
        if (starter !== starters[0]) this.#useless = starters[0];
        return { child, starter };
      } catch (error) {
        if (starter === undefined) throw launchErrorOf(error);
      }
    }
    throw new Error("the last way to start a command is without a starter");
  }
}

function spawn(options: GroupOptions, starter: Starter | undefined): Deno.ChildProcess {
  const file = starter === SETSID ? SETSID : starter?.file;
  const args = file === undefined ? options.args : [options.file, ...options.args];
  return new Deno.Command(file ?? options.file, {
    args: [...args],
    env: options.env,
    clearEnv: !(options.inheritEnv ?? false),
    detached: file === undefined && Deno.build.os !== "windows",
    stdin: options.input.length > 0 ? "piped" : "null",
    stdout: typeof options.stdout === "function" ? "piped" : options.stdout,
    stderr: typeof options.stderr === "function" ? "piped" : options.stderr,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  }).spawn();
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
function setsidFault(code: number, stderr: string, file: string): string | undefined {
  if (code !== EXIT.notExecutable && code !== EXIT.notFound) return undefined;
  if (!stderr.startsWith("setsid: ") || !stderr.includes(file)) return undefined;
  const behind = stderr.slice(stderr.lastIndexOf(file) + file.length);
  const why = /^[^:\n]*: ([^\n]*)\n$/.exec(behind)?.[1];
  return why === undefined ? undefined : reason(why);
}

/** Longer than any complaint of setsid(1), in bytes. */
const COMPLAINT_BYTES = 5_000;

/** Listens to stderr for what a starter says when it could not execute the file. */
class Complaint {
  /** A launcher has said so. */
  hasNotRun = false;
  readonly #starter: Starter | undefined;
  readonly #file: string;
  /** The beginning of what came from setsid(1), or from the command behind it. */
  #text = "";

  constructor(starter: Starter | undefined, file: string) {
    this.#starter = starter;
    this.#file = file;
  }

  heardBefore(sink: Sink): Sink {
    const starter = this.#starter;
    if (starter === undefined) return sink;
    return (chunk) => {
      if (starter === SETSID) this.#add(chunk);
      else if (starter.isComplaint(chunk)) {
        this.hasNotRun = true;
        return Promise.resolve();
      }
      return sink(chunk);
    };
  }

  #add(chunk: Uint8Array): void {
    const room = COMPLAINT_BYTES - this.#text.length;
    if (room > 0) this.#text += new TextDecoder().decode(chunk.subarray(0, room));
  }

  /** Why setsid(1) could not execute the file. @param code what it, or the command, exited with */
  of(code: number): string | undefined {
    return this.#starter === SETSID ? setsidFault(code, this.#text, this.#file) : undefined;
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
  #isOver = false;

  constructor(stream: ReadableStream<Uint8Array>, sink: Sink) {
    this.#reader = stream.getReader({ mode: "byob" });
    this.ended = this.#pump(sink);
  }

  /** It has ended, and all that came was taken. */
  get isOver(): boolean {
    return this.#isOver;
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
    await this.ended;
  }

  async #pump(sink: Sink): Promise<void> {
    for (let size = FIRST_READ_BYTES;;) {
      const { done, value } = await this.#reader.read(new Uint8Array(size));
      if (done) break;
      if (value.length === size) size = READ_BYTES;
      await sink(value);
    }
    this.#isOver = true;
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
  // Mostly nobody is left, and where an error comes from takes longer to find out than all else here.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    Deno.kill(-pid, signal);
  } catch {
    if (!reaped) signalLeader(pid, signal);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
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
