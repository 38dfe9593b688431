/**
 * A child process that leads a process group of its own, so that a signal reaches its children
 * too, and a Ctrl-C at the worker's terminal does not reach the task.
 */

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
   * @throws {Deno.errors.NotFound | Deno.errors.PermissionDenied | Error} when it cannot start
   */
  async run(options: GroupOptions): Promise<GroupStatus> {
    const child = this.#spawn(options);
    this.#leaders.add(child.pid);
    const stop = new GroupStop(child.pid, options.killAfterMs);
    options.signal.addEventListener("abort", stop.begin, { once: true });
    if (options.signal.aborted) stop.begin();
    const pipes: Pipe[] = [];
    if (typeof options.stdout === "function") pipes.push(new Pipe(child.stdout, options.stdout));
    if (typeof options.stderr === "function") pipes.push(new Pipe(child.stderr, options.stderr));
    const feeding = options.input.length > 0 ? feed(child.stdin, options.input) : undefined;
    try {
      const { code, signal } = await child.status;
      const stopped = stop.begun;
      // From now on it is too late: what it did is done.
      options.signal.removeEventListener("abort", stop.begin);
      feeding?.abort();
      await within(PIPE_GRACE_MS, Promise.all(pipes.map((pipe) => pipe.ended)));
      return { code, signal, stopped };
    } finally {
      options.signal.removeEventListener("abort", stop.begin);
      stop.end();
      if (!options.leaveOrphans) signalGroup(child.pid, "SIGKILL", true);
      this.#leaders.delete(child.pid);
      await Promise.all(pipes.map((pipe) => pipe.close()));
    }
  }

  /** SIGKILL to every group, at once. Their runs end as they do for any signal. */
  killAll(): void {
    for (const pid of this.#leaders) signalGroup(pid, "SIGKILL");
  }

  #spawn(options: GroupOptions): Deno.ChildProcess {
    const launcher = this.#launcher;
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

/** The reading end of a child's stdout or stderr. */
class Pipe {
  /** Resolves when everybody has closed the writing end, or this end was closed. */
  readonly ended: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>, sink: Sink) {
    this.#reader = stream.getReader();
    this.ended = this.#pump(sink);
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
    await this.ended;
  }

  async #pump(sink: Sink): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      await sink(value);
    }
  }
}

/** Ends a group with SIGTERM and then, if need be, SIGKILL. */
class GroupStop {
  begun = false;
  readonly #pid: number;
  readonly #killAfterMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(pid: number, killAfterMs: number) {
    this.#pid = pid;
    this.#killAfterMs = killAfterMs;
  }

  readonly begin: () => void = () => {
    this.begun = true;
    signalGroup(this.#pid, "SIGTERM");
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
  writer.write(input as Uint8Array<ArrayBuffer>).then(() => writer.close()).catch(() => {});
  return { abort: () => void writer.abort().catch(() => {}) };
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
