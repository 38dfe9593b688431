import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { InputError, ToolError, UsageError } from "../../src/errors.ts";
import { CommandHandler, type CommandOptions } from "../../src/handlers/command.ts";
import { TaskFiles } from "../../src/handlers/task_files.ts";
import type { Outcome, TaskContext } from "../../src/task/handler.ts";
import type { Task } from "../../src/task/task.ts";
import { isAlive } from "../support/descendants.ts";
import { writeExecutable, writerOf } from "../support/executable.ts";
import { run } from "../support/process.ts";
import { dirname } from "node:path";
import { taskWith } from "../support/task.ts";
import { mountDisk, mountMissing } from "../support/tmpfs.ts";
import { waitUntil } from "../support/wait.ts";

const DONE: Outcome = { kind: "done", exitCode: 0 };

const ENV = { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/nowhere" };

function context(signal: AbortSignal = new AbortController().signal): TaskContext {
  return { signal, attempt: 1, maxAttempts: 5 };
}

function makeDirectory(): string {
  const dir = Deno.env.get("TEST_RUN_DIR");
  return Deno.makeTempDirSync({ prefix: "command-", ...(dir ? { dir } : {}) });
}

/** A handler whose output goes to files in a directory that the test can read. */
class Bench implements Disposable {
  readonly directory = makeDirectory();
  readonly warnings: string[] = [];
  readonly handler: CommandHandler;

  constructor(options: Partial<CommandOptions>) {
    try {
      this.handler = new CommandHandler({
        env: ENV,
        output: { kind: "file", directory: this.directory },
        warn: (message) => this.warnings.push(message),
        ...options,
      });
    } catch (error) {
      Deno.removeSync(this.directory, { recursive: true });
      throw error;
    }
  }

  run(overrides: Partial<Task> = {}, signal?: AbortSignal): Promise<Outcome> {
    return this.handler.handle(taskWith(overrides), context(signal));
  }

  bytes(stream: "stdout" | "stderr", id = "t-1", attempt = 1): Uint8Array {
    return Deno.readFileSync(`${this.directory}/${id}.${attempt}.${stream}`);
  }

  text(stream: "stdout" | "stderr", id = "t-1", attempt = 1): string {
    return new TextDecoder().decode(this.bytes(stream, id, attempt));
  }

  [Symbol.dispose](): void {
    this.handler[Symbol.dispose]();
    Deno.removeSync(this.directory, { recursive: true });
  }
}

/** Runs a shell text once, as an argument of sh and not through --shell. */
function sh(script: string, options: Partial<CommandOptions> = {}): Bench {
  return new Bench({ argv: ["sh", "-c", script, "sh"], ...options });
}

/** The first line of a file, once a command has written one. */
function lineOf(path: string): Promise<string> {
  return waitUntil(`a line in ${path}`, () => Deno.readTextFileSync(path).match(/^(.*)\n/)?.[1]);
}

async function assertGone(pid: number): Promise<void> {
  await waitUntil(`process ${pid} to end`, () => !isAlive(pid));
}

Deno.test("a command gets the exact bytes of the body on stdin, then the end of file", async () => {
  using bench = new Bench({ argv: ["cat"] });
  const body = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 & 0xff);
  assertEquals(await bench.run({ body }), DONE);
  assertEquals(bench.bytes("stdout"), body);
});

Deno.test("a command without a body reads the end of file at once", async () => {
  using bench = sh("cat; echo end");
  assertEquals(await bench.run(), DONE);
  assertEquals(bench.text("stdout"), "end\n");
});

Deno.test("5 MB of stdin that nobody reads do no harm: the exit status decides", async () => {
  const body = new Uint8Array(5_000_000);
  using unread = sh("exit 0");
  assertEquals(await unread.run({ body }), DONE);
  using closed = sh("exec <&-; exit 3");
  assertEquals((await closed.run({ body })).kind, "failed");
  // A descendant holds the pipe open, so that no error ends the writing.
  using held = sh("sleep 600 >/dev/null 2>&1 & exit 0");
  assertEquals(await held.run({ body }), DONE);
});

Deno.test("every exit status has the meaning of the contract", async () => {
  const meanings: [Outcome["kind"], number[]][] = [
    ["done", [0]],
    ["failed", [1, 2, 63, 67, 70, 71, 74, 75, 77, 80, 100, 125, 126, 127, 128, 137, 254]],
    ["rejected", [64, 65, 66, 76, 78]],
    ["snoozed", [79]],
    ["unable", [255]],
  ];
  using bench = new Bench({ argv: ["sh", "-c", "exit $TASK_TYPE"] });
  for (const [kind, codes] of meanings) {
    for (const code of codes) {
      const outcome = await bench.run({ properties: { type: String(code) } });
      assertEquals(outcome.kind, kind, `exit ${code}`);
      if (outcome.kind === "failed" || outcome.kind === "rejected") {
        assertEquals(outcome.reason, `exit ${code}`);
        assertEquals(outcome.exitCode, code);
      }
      if (outcome.kind === "unable") assertEquals(outcome.exitCode, 75);
    }
  }
});

Deno.test("overrides change the meaning of exit statuses and may not contradict each other", async () => {
  const exits = { ack: [3], retry: [65], dead: [4, 5], stop: [6] };
  using bench = new Bench({ argv: ["sh", "-c", "exit $TASK_TYPE"], exits });
  const kinds = [];
  for (const type of ["3", "65", "4", "5", "6"]) {
    kinds.push((await bench.run({ properties: { type } })).kind);
  }
  assertEquals(kinds, ["done", "failed", "rejected", "rejected", "unable"]);
  assertThrows(
    () => new Bench({ argv: ["true"], exits: { retry: [1], dead: [1] } }),
    UsageError,
    "exit status 1 can mean one thing only",
  );
});

Deno.test("a command killed by somebody else's signal has failed, with the signal's name", async () => {
  using bench = sh("kill -KILL $$");
  assertEquals(await bench.run(), {
    kind: "failed",
    reason: "signal SIGKILL",
    exitCode: 137,
    stderrTail: "",
  });
});

Deno.test("exit status 79 snoozes for the time in TASK_SNOOZE_FILE, else the default", async () => {
  using asked = sh('echo 90s >"$TASK_SNOOZE_FILE"; exit 79');
  assertEquals(await asked.run(), { kind: "snoozed", delayMs: 90_000 });
  using silent = sh("exit 79", { snoozeMs: 7_000 });
  assertEquals(await silent.run(), { kind: "snoozed", delayMs: 7_000 });
  using distant = sh('echo 30d >"$TASK_SNOOZE_FILE"; exit 79');
  assertEquals(await distant.run(), { kind: "snoozed", delayMs: 30 * 86_400_000 });
  using nonsense = sh('echo soon >"$TASK_SNOOZE_FILE"; exit 79');
  assertEquals(await nonsense.run(), { kind: "snoozed", delayMs: 60_000 });
  assertEquals(nonsense.warnings, [
    'TASK_SNOOZE_FILE must hold a time such as 90s, and holds "soon"',
  ]);
});

Deno.test("a snooze file that is no file is as none, and stops nobody", async () => {
  for (const make of ["mkfifo", "mkdir"]) {
    using bench = sh(`${make} "$TASK_SNOOZE_FILE"; exit 79`, { snoozeMs: 7_000 });
    assertEquals(await bench.run(), { kind: "snoozed", delayMs: 7_000 });
  }
});

Deno.test("snooze files of commands that ended otherwise do not pile up", () => {
  using files = new TaskFiles();
  let directory = "";
  for (let run = 1; run <= 600; run++) {
    using one = files.create(run, "{}");
    Deno.writeTextFileSync(one.snooze, "90s");
    directory = one.snooze.replace(/[^/]*$/, "");
  }
  assert([...Deno.readDirSync(directory)].length <= 256);
});

Deno.test("a command knows its task from TASK_* and nothing of the worker's own settings", async () => {
  const env = {
    ...ENV,
    AMQP_URL: "amqp://u:secret@h/",
    WORK_QUEUE: "nor this",
    TASK_QUEUE: "not this",
    COLOUR: "blue",
  };
  using bench = new Bench({ argv: ["env"], env });
  await bench.run({
    id: "abc",
    exchange: "ex",
    routingKey: "key",
    redelivered: true,
    properties: {
      contentType: "text/plain",
      type: "two\nlines",
      priority: 3,
      correlationId: "with\0nul",
      replyTo: "r".repeat(10_000),
      timestamp: new Date(1_700_000_000_000),
      headers: { LD_PRELOAD: "evil.so", PATH: "/evil" },
    },
  });
  const text = bench.text("stdout", "abc");
  for (
    const line of [
      "TASK_ID=abc",
      "TASK_QUEUE=q",
      "TASK_EXCHANGE=ex",
      "TASK_ROUTING_KEY=key",
      "TASK_ATTEMPT=1",
      "TASK_MAX_ATTEMPTS=5",
      "TASK_REDELIVERED=1",
      "TASK_CONTENT_TYPE=text/plain",
      "TASK_TYPE=two\nlines",
      "TASK_PRIORITY=3",
      "TASK_CORRELATION_ID=",
      `TASK_REPLY_TO=${"r".repeat(8_192)}`,
      "TASK_TIMESTAMP=1700000000",
      "TASK_DEADLINE=",
      "COLOUR=blue",
      "PATH=/usr/local/bin:/usr/bin:/bin",
    ]
  ) {
    assertStringIncludes(text, `${line}\n`);
  }
  for (const secret of ["AMQP_URL", "secret", "LD_PRELOAD", "not this", "WORK_QUEUE"]) {
    assert(!text.includes(secret), secret);
  }
});

Deno.test("TASK_META_FILE holds everything about the task, only for this user, and goes away", async () => {
  using bench = sh(
    'stat -c %a "$TASK_META_FILE"; echo "$TASK_META_FILE" >&2; cat "$TASK_META_FILE"',
  );
  await bench.run({
    properties: {
      messageId: "m",
      timestamp: new Date(0),
      deliveryMode: 2,
      headers: {
        big: 2n ** 60n,
        small: 5n,
        bytes: Uint8Array.of(1, 2, 255),
        when: new Date(0),
        nested: { list: [1, null, "x"] },
        "__proto__": "kept",
      },
    },
  });
  const [mode, json] = bench.text("stdout").split("\n");
  assertEquals(mode, "600");
  assertEquals(JSON.parse(json!), {
    schema: 1,
    delivery: {
      queue: "q",
      exchange: "",
      routing_key: "q",
      redelivered: false,
      attempt: 1,
      max_attempts: 5,
      deadline: null,
    },
    properties: { message_id: "m", timestamp: "1970-01-01T00:00:00.000Z", delivery_mode: 2 },
    headers: {
      big: "1152921504606846976",
      small: 5,
      bytes: { base64: "AQL/" },
      when: "1970-01-01T00:00:00.000Z",
      nested: { list: [1, null, "x"] },
    },
  });
  const path = bench.text("stderr").trim();
  assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
  const directory = path.slice(0, path.lastIndexOf("/"));
  assertEquals([...Deno.readDirSync(directory)].filter(({ name }) => name !== "launcher"), []);
  bench.handler[Symbol.dispose]();
  assertThrows(() => Deno.statSync(directory), Deno.errors.NotFound);
});

Deno.test("a temporary directory that somebody removed is made again", async () => {
  using bench = sh('dirname "$TASK_META_FILE"');
  await bench.run();
  const [directory] = bench.text("stdout").split("\n");
  Deno.removeSync(directory!, { recursive: true });
  assertEquals(await bench.run(), DONE);
});

Deno.test("another directory in the place of the removed one is not the worker's", async () => {
  const parent = makeDirectory();
  {
    using bench = sh('echo "$TASK_META_FILE"', { temporary: parent });
    await bench.run();
    const directory = dirname(bench.text("stdout").trim());
    Deno.removeSync(directory, { recursive: true });
    Deno.mkdirSync(directory);
    writeExecutable(`${directory}/launcher`, "#!/bin/sh\necho foreign\n");
    assertEquals(await bench.run({ id: "t-2" }), DONE);
    const meta = bench.text("stdout", "t-2").trim();
    assert(meta.startsWith(parent) && dirname(meta) !== directory, meta);
  }
  Deno.removeSync(parent, { recursive: true });
});

Deno.test("the directory of a worker that was killed goes with the next one, that of a live one stays", () => {
  const parent = makeDirectory();
  Deno.mkdirSync(`${parent}/worker-left/deep`, { recursive: true });
  Deno.mkdirSync(`${parent}/other-left`);
  Deno.writeTextFileSync(`${parent}/worker-file`, "");
  Deno.symlinkSync("other-left", `${parent}/worker-link`);
  {
    using live = new TaskFiles(parent);
    using one = live.create(1, "{}");
    using next = new TaskFiles(parent);
    using two = next.create(1, "{}");
    const names = Array.from(Deno.readDirSync(parent), ({ name }) => `${parent}/${name}`).sort();
    const directories = [one, two].map(({ meta }) => meta.replace(/\/[^/]*$/, ""));
    const others = ["other-left", "worker-file", "worker-link"].map((name) => `${parent}/${name}`);
    assertEquals(names, [...directories, ...others].sort());
  }
  assertEquals([...Deno.readDirSync(parent)].length, 3);
  Deno.removeSync(parent, { recursive: true });
});

Deno.test("workers that begin at the same time leave each other their directories", async () => {
  const parent = makeDirectory();
  const module = import.meta.resolve("../../src/handlers/task_files.ts");
  const program = `
    import { TaskFiles } from ${JSON.stringify(module)};
    for (let i = 0; i < 200; i++) {
      using files = new TaskFiles(${JSON.stringify(parent)});
      using _run = files.create(1, "{}");
    }`;
  const workers = [1, 2, 3].map(() => run(Deno.execPath(), { args: ["eval", program] }));
  for (const { code, stderr } of await Promise.all(workers)) assertEquals(code, 0, stderr);
  Deno.removeSync(parent);
});

Deno.test({
  name: `a full TMPDIR is named, and costs the task nothing${
    mountMissing === undefined ? "" : ` (${mountMissing})`
  }`,
  ignore: mountMissing !== undefined,
  fn: async () => {
    await using disk = await mountDisk(1);
    const options = { argv: ["true"], temporary: disk.path, output: { kind: "null" } } as const;
    using bench = new Bench(options);
    assertEquals(await bench.run(), DONE);
    assertThrows(() => Deno.writeFileSync(`${disk.path}/full`, new Uint8Array(2 ** 21)));
    using late = new Bench(options);
    for (const one of [bench, late]) {
      const outcome = await one.run();
      assert(outcome.kind === "unable");
      assertEquals(outcome.exitCode, 75);
      assertMatch(outcome.reason, new RegExp(`written to "${disk.path}.*: no space left`));
    }
  },
});

Deno.test("arguments are passed as they are, with {id}, {queue} and {attempt} replaced", async () => {
  const argv = ["printf", "[%s]", "{id}", "a{queue}b", "{attempt}", "$HOME `x` 'y", "{body}", ""];
  using bench = new Bench({ argv });
  await bench.run({ id: "n $& \0x" });
  const file = [...Deno.readDirSync(bench.directory)][0]!.name;
  const text = Deno.readTextFileSync(`${bench.directory}/${file}`);
  assertEquals(text, "[n $& x][aqb][1][$HOME `x` 'y][{body}][]");
});

Deno.test("a placeholder in two pairs of braces stands for itself", async () => {
  const given = ["{{id}}", "{ {id} }", "x{{queue}}{queue}", "{{{id}}}", "{{a}}", "{{id}", "{id}}"];
  using bench = new Bench({ argv: ["printf", "[%s]", ...given] });
  await bench.run();
  assertEquals(bench.text("stdout"), "[{id}][{ t-1 }][x{queue}q][{{id}}][{{a}}][{t-1][t-1}]");
});

Deno.test("an id never becomes an option of the command", async () => {
  const rows: [args: string[], printed: string | undefined][] = [
    [["{id}"], undefined],
    [["a", "{id}.txt"], undefined],
    [["--", "{id}"], "[--][-rf]"],
    [["{queue}", "--", "{id}"], "[q][--][-rf]"],
    [["--name={id}", "./{id}", "{{id}}"], "[--name=-rf][./-rf][{id}]"],
  ];
  for (const [args, printed] of rows) {
    using bench = new Bench({ argv: ["sh", "-c", 'printf "[%s]" "$@"', "sh", ...args] });
    const outcome = await bench.run({ id: "-rf" });
    if (printed !== undefined) assertEquals(bench.text("stdout", "-rf"), printed);
    else {
      assert(outcome.kind === "rejected");
      assertEquals(outcome.reason, "option-like id");
      assertStringIncludes(outcome.stderrTail!, '"--" before {id} allows it');
    }
  }
});

Deno.test("a shell text has its values from variables; nothing is replaced in it", async () => {
  using bench = new Bench({ shell: 'echo "$TASK_ID" {id} && cat | tr a-z A-Z' });
  await bench.run({ id: "$(exit 9)", body: new TextEncoder().encode("loud") });
  const file = [...Deno.readDirSync(bench.directory)][0]!.name;
  assertEquals(Deno.readTextFileSync(`${bench.directory}/${file}`), "$(exit 9) {id}\nLOUD");
});

Deno.test("a missing or unexecutable command is known before any task", () => {
  const directory = makeDirectory();
  const plain = `${directory}/plain`;
  const script = `${directory}/script`;
  Deno.writeTextFileSync(plain, "#!/bin/sh\n", { mode: 0o644 });
  writeExecutable(script, "#!/no/such/interpreter -x\n");
  const cases: [string[], Partial<CommandOptions>, number, string][] = [
    [["no-such-command-x"], {}, 127, '"no-such-command-x" must be an executable file in PATH'],
    [["/no/such/file"], {}, 127, '"/no/such/file" does not'],
    [["./missing"], { cwd: directory }, 127, `"${directory}/./missing" does not`],
    [[plain], {}, 126, "execute permission is not set"],
    [["plain"], { env: { PATH: directory } }, 126, "execute permission is not set"],
    [[directory], {}, 126, "it is no file"],
    [[script], {}, 127, '"/no/such/interpreter"'],
    [["true"], { cwd: `${directory}/gone` }, 66, `"${directory}/gone" is none`],
  ];
  for (const [argv, options, code, message] of cases) {
    const error = assertThrows(() => new Bench({ argv, ...options }), ToolError, message);
    assertEquals(error.exitCode, code, argv[0]);
  }
  Deno.removeSync(directory, { recursive: true });
});

/** Files that no kernel executes, and their exit status; execvp(3) hands most of them to sh. */
function unexecutables(): [name: string, bytes: Uint8Array<ArrayBuffer>, code: number][] {
  const program = Deno.readFileSync("/bin/true");
  const text = new TextDecoder("latin1").decode(program);
  const foreign = program.slice();
  foreign[18] = 0xf7; // e_machine 247: BPF, which no kernel executes as a program
  const homeless = program.slice();
  homeless[text.indexOf("/ld-linux") + 1] = 0x4c; // "/Ld-linux...": its loader
  const script = (line: string) => new TextEncoder().encode(line);
  return [
    ["empty", new Uint8Array(), 126],
    ["foreign", foreign, 126],
    ["homeless", homeless, 127],
    ["cut in its magic number", program.slice(0, 3), 126],
    ["cut in its header", program.slice(0, 10), 126],
    ["cut in its table", program.slice(0, 100), 126],
    ["cut in its code", program.slice(0, program.length >> 1), 126],
    ["zeros", new Uint8Array(4_096), 126],
    ["noise", Uint8Array.of(0x93, 0, 0x1f, 7), 126],
    ["text", script("exit 0\n"), 126],
    ["bare", script("#!\n"), 126],
    ["cut in its first line", script("#!/bin/sh"), 126],
    ["too long", script(`#!/${"x".repeat(300)}\n`), 126],
    ["itself", script("#!./tool\n"), 126],
    ["without interpreter", script("#!/no/such/interpreter -x\n"), 127],
    ["without program", script("#!/usr/bin/env no-such-program-x\n"), 127],
    ["without program in a line", script("#!/usr/bin/env -S A=b no-such-program-x -u\n"), 127],
    ["with an empty interpreter", script("#!./empty\n"), 126],
    ["with an empty program", script("#!/usr/bin/env ./empty\n"), 126],
  ];
}

Deno.test("what the system does not execute is known before any task", () => {
  const directory = makeDirectory();
  const file = `${directory}/tool`;
  writeExecutable(`${directory}/empty`, new Uint8Array());
  for (const [name, bytes, code] of unexecutables()) {
    writeExecutable(file, bytes);
    const error = assertThrows(() => new Bench({ argv: [file], cwd: directory }), ToolError);
    assertEquals(error.exitCode, code, `${name}: ${error.message}`);
  }
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("what the system executes is not refused", async () => {
  const directory = makeDirectory();
  const script = (line: string) => new TextEncoder().encode(line);
  const files: [string, Uint8Array<ArrayBuffer>][] = [
    ["program", Deno.readFileSync("/bin/true")],
    ["script", script("#!/bin/sh\n")],
    ["spaced", script("#! \t/bin/sh  -e \nexit 0\n")],
    ["nested", script("#!./script\n")],
    ["by env", script("#!/usr/bin/env sh\nexit 0\n")],
    ["by env in a line", script("#!/usr/bin/env -S A=b sh -e\nexit 0\n")],
  ];
  for (const [name, bytes] of files) {
    const file = `${directory}/${name}`;
    writeExecutable(file, bytes);
    using bench = new Bench({ argv: [file], cwd: directory, output: { kind: "null" } });
    assertEquals(await bench.run(), DONE, name);
  }
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("a program that becomes none between two tasks fails no task and is no success", async () => {
  const directory = makeDirectory();
  const tool = `${directory}/tool`;
  const earlier = `${directory}/earlier`;
  Deno.mkdirSync(earlier);
  writeExecutable(`${directory}/empty`, new Uint8Array());
  for (const [name, bytes, code] of unexecutables()) {
    for (const [argv, place] of [["./tool", tool], ["tool", tool], ["tool", `${earlier}/tool`]]) {
      writeExecutable(tool, "#!/bin/sh\nexit 0\n");
      const env = { PATH: `${earlier}:${directory}:${ENV.PATH}` };
      using bench = new Bench({ argv: [argv!], cwd: directory, env, output: { kind: "null" } });
      assertEquals(await bench.run(), DONE);
      writeExecutable(place!, bytes);
      const outcome = await bench.run();
      Deno.removeSync(place!);
      // What only lacks something is passed over where another one is found, as execvp does.
      const another = place !== tool && (code === 127 || name === "itself");
      if (another) assertEquals(outcome, DONE);
      else {
        assert(outcome.kind === "unable", `${name} at ${place}: ${JSON.stringify(outcome)}`);
        assertEquals(outcome.exitCode, code, `${name}: ${outcome.reason}`);
      }
    }
  }
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("a program that becomes none while others run fails no task and is no success", async () => {
  const directory = makeDirectory();
  const tool = `${directory}/tool`;
  for (const [bytes, code] of [[undefined, 127], [new Uint8Array(), 126]] as const) {
    writeExecutable(tool, Deno.readFileSync("/bin/true"));
    const env = { PATH: `${directory}:${ENV.PATH}` };
    using bench = new Bench({ argv: ["tool"], env, output: { kind: "null" } });
    assertEquals(await bench.run(), DONE);
    // The file was found for this one just now. It may be gone before the system has loaded it.
    const first = bench.run();
    Deno.removeSync(tool);
    if (bytes !== undefined) writeExecutable(tool, bytes);
    const second = await bench.run();
    assert(second.kind === "unable", JSON.stringify(second));
    assertEquals(second.exitCode, code, second.reason);
    await first;
  }
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("a program that is emptied while a task begins is no success", async () => {
  const directory = makeDirectory();
  const tool = `${directory}/tool`;
  // What runs when the file is read late: nothing but the end of it.
  writeExecutable(tool, '#!/bin/sh\n: >"$0"\n');
  using bench = new Bench({ argv: [tool] });
  const outcome = await bench.run();
  assert(outcome.kind === "unable");
  assertEquals(outcome.exitCode, 126);
  Deno.removeSync(directory, { recursive: true });
});

/** Both ways to start a command: by a launcher, and without one. */
const WAYS = [{ output: { kind: "null" } }, { output: { kind: "inherit" } }] as const;

Deno.test("what this host cannot execute now costs the task nothing", async () => {
  const directory = makeDirectory();
  const tool = `${directory}/tool`;
  for (const way of WAYS) {
    writeExecutable(tool, Deno.readFileSync("/bin/true"));
    using bench = new Bench({ argv: [tool], ...way });
    assertEquals(await bench.run(), DONE);
    {
      await using _writer = await writerOf(tool);
      const busy = await bench.run();
      assert(busy.kind === "unable", JSON.stringify(busy));
      assertEquals(busy.exitCode, 126);
      assertStringIncludes(busy.reason, `${JSON.stringify(tool)} is not: text file busy`);
    }
    assertEquals(await bench.run(), DONE);
    using stuffed = new Bench({
      argv: [tool],
      env: { ...ENV, STUFFED: "x".repeat(200_000) },
      ...way,
    });
    const tooMuch = await stuffed.run();
    assert(tooMuch.kind === "unable", JSON.stringify(tooMuch));
    assertEquals(tooMuch.exitCode, 126);
    assertStringIncludes(tooMuch.reason, "argument list too long");
  }
  Deno.removeSync(directory, { recursive: true });
});

Deno.test({
  name: `a disk that forbids programs costs the task nothing${
    mountMissing === undefined ? "" : ` (${mountMissing})`
  }`,
  ignore: mountMissing !== undefined,
  fn: async () => {
    await using disk = await mountDisk(1);
    const tool = `${disk.path}/tool`;
    writeExecutable(tool, Deno.readFileSync("/bin/true"));
    for (const way of WAYS) {
      using bench = new Bench({ argv: [tool], ...way });
      await disk.remount("exec");
      assertEquals(await bench.run(), DONE);
      await disk.remount("noexec");
      const outcome = await bench.run();
      assert(outcome.kind === "unable", JSON.stringify(outcome));
      assertEquals(outcome.exitCode, 126);
      assertStringIncludes(outcome.reason, "permission denied");
    }
  },
});

Deno.test({
  name: `a TMPDIR on a disk that forbids programs is good enough${
    mountMissing === undefined ? "" : ` (${mountMissing})`
  }`,
  ignore: mountMissing !== undefined,
  fn: async () => {
    await using disk = await mountDisk(1);
    await disk.remount("noexec");
    using bench = new Bench({ argv: ["cat"], temporary: disk.path });
    for (const body of ["one", "two"]) {
      assertEquals(await bench.run({ id: body, body: new TextEncoder().encode(body) }), DONE);
      assertEquals(bench.text("stdout", body), body);
    }
  },
});

Deno.test("exit statuses 126 and 127 of the command itself are its own", async () => {
  for (const way of WAYS) {
    for (const code of ["126", "127"]) {
      using bench = new Bench({ argv: ["sh", "-c", `echo setsid: no >&2; exit ${code}`], ...way });
      assertEquals((await bench.run()).kind, "failed");
    }
  }
});

Deno.test("a command that vanishes between two tasks is this host's fault, not the task's", async () => {
  const directory = makeDirectory();
  const file = `${directory}/tool`;
  writeExecutable(file, "#!/bin/sh\nexit 0\n");
  using bench = new Bench({ argv: [file], cwd: directory });
  assertEquals(await bench.run(), DONE);
  Deno.chmodSync(file, 0o644);
  const forbidden = await bench.run();
  assert(forbidden.kind === "unable");
  assertEquals(forbidden.exitCode, 126);
  Deno.removeSync(file);
  const missing = await bench.run();
  assert(missing.kind === "unable");
  assertEquals(missing.exitCode, 127);
  assertStringIncludes(missing.reason, `"${file}" does not`);
  Deno.removeSync(directory, { recursive: true });
  const homeless = await bench.run();
  assert(homeless.kind === "unable");
  assertEquals(homeless.exitCode, 66);
});

Deno.test("a worker whose own directory was removed says so", async () => {
  // In a process of its own: tests that run beside this one have the same directory.
  const program = new URL("homeless.ts", import.meta.url).pathname;
  const { stdout, stderr } = await run(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program],
    cwd: makeDirectory(),
  });
  assertMatch(stdout, /^unable 66 .*the worker's own is gone/, stderr);
});

Deno.test("a command that a shell cannot find or execute is this host's fault", async () => {
  using missing = new Bench({ shell: "no-such-command-x" });
  const outcome = await missing.run();
  assert(outcome.kind === "unable");
  assertEquals(outcome.exitCode, 127);
  assertStringIncludes(outcome.reason, "no-such-command-x");
  using silent = new Bench({ shell: "exit 127" });
  const unsaid = await silent.run();
  assert(unsaid.kind === "unable");
  assertEquals(unsaid.reason, "the shell cannot run the command: exit 127");
  using directory = new Bench({ shell: "/" });
  const refused = await directory.run();
  assert(refused.kind === "unable");
  assertEquals(refused.exitCode, 126);
});

Deno.test("a command is run in --cwd", async () => {
  const directory = Deno.realPathSync(makeDirectory());
  using bench = new Bench({ argv: ["pwd"], cwd: directory });
  await bench.run();
  assertEquals(bench.text("stdout"), `${directory}\n`);
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("a command leads a session and a process group of its own", async () => {
  using bench = sh("ps -o pid=,pgid=,sid= -p $$");
  await bench.run();
  const [pid, pgid, sid] = bench.text("stdout").trim().split(/\s+/);
  assertEquals([pgid, sid], [pid, pid]);
});

Deno.test("a timeout ends the whole group: a child that ignores TERM, and its child", async () => {
  const controller = new AbortController();
  const script = `trap '' TERM; (trap '' TERM; sh -c 'echo $PPID $$; sleep 6000'); sleep 6000`;
  using bench = sh(script, { killAfterMs: 50 });
  const running = bench.run({}, controller.signal);
  const pids = (await lineOf(`${bench.directory}/t-1.1.stdout`)).split(" ").map(Number);
  assertEquals(pids.map(isAlive), [true, true]);
  controller.abort(new DOMException("25m are over", "TimeoutError"));
  assertEquals(await running, {
    kind: "failed",
    reason: "timeout",
    exitCode: 137,
    stderrTail: "",
  });
  for (const pid of pids) await assertGone(pid);
});

Deno.test("a command is told once to stop", async () => {
  const controller = new AbortController();
  const script = `trap 'echo told' TERM; echo ready >&2; sleep 600 & wait; sleep 600 & wait`;
  using bench = sh(script, { killAfterMs: 1_000 });
  const running = bench.run({}, controller.signal);
  await lineOf(`${bench.directory}/t-1.1.stderr`);
  controller.abort(new DOMException("over", "TimeoutError"));
  assertEquals((await running).kind, "failed");
  assertEquals(bench.text("stdout"), "told\n");
});

Deno.test({
  name: "a timeout ends what has left the group, too, and nothing of another task",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const controller = new AbortController();
    const script = `setsid sh -c 'trap "" TERM; echo $$; sleep 600; sleep 600' & sleep 600; wait`;
    using bench = sh(script);
    const other = bench.run({ id: "other" });
    const running = bench.run({ id: "late" }, controller.signal);
    const [stray, stays] = await Promise.all(
      ["late", "other"].map((id) => lineOf(`${bench.directory}/${id}.1.stdout`)),
    );
    controller.abort(new DOMException("25m are over", "TimeoutError"));
    assertEquals((await running).kind, "failed");
    await assertGone(Number(stray));
    assertEquals(isAlive(Number(stays)), true);
    bench.handler.killAll();
    await other;
    await assertGone(Number(stays));
  },
});

Deno.test("a command that heeds TERM has time to tidy up, and the timeout stands", async () => {
  const controller = new AbortController();
  using bench = sh(`trap 'echo tidied; exit 0' TERM; echo ready >&2; sleep 600 & wait; exit 1`);
  const running = bench.run({}, controller.signal);
  await lineOf(`${bench.directory}/t-1.1.stderr`);
  controller.abort(new DOMException("over", "TimeoutError"));
  const outcome = await running;
  assert(outcome.kind === "failed");
  assertEquals([outcome.reason, outcome.exitCode, outcome.stderrTail], ["timeout", 0, "ready\n"]);
  assertEquals(bench.text("stdout"), "tidied\n");
});

Deno.test("a stopped command is ended all the same", async () => {
  const controller = new AbortController();
  using bench = sh(`echo ready >&2; kill -STOP $$`);
  const running = bench.run({}, controller.signal);
  await lineOf(`${bench.directory}/t-1.1.stderr`);
  controller.abort(new Error("the worker ends"));
  assertEquals(await running, { kind: "interrupted" });
});

Deno.test("a command interrupted by our shutdown is interrupted, whatever it exits with", async () => {
  for (const end of ["exit 0", "exit 65", "kill -KILL $$"]) {
    const controller = new AbortController();
    using bench = sh(`trap '${end}' TERM; echo ready >&2; sleep 600 & wait; exit 1`);
    const running = bench.run({}, controller.signal);
    await lineOf(`${bench.directory}/t-1.1.stderr`);
    controller.abort(new Error("the worker ends"));
    assertEquals(await running, { kind: "interrupted" }, end);
  }
});

Deno.test("a signal aborted beforehand starts nothing", async () => {
  using bench = sh("echo ran");
  assertEquals(await bench.run({}, AbortSignal.abort()), { kind: "interrupted" });
  assertEquals([...Deno.readDirSync(bench.directory)], []);
});

Deno.test("a grandchild that holds stdout does not hold the task, and is ended", async () => {
  using bench = sh("sleep 600 & echo $!");
  assertEquals(await bench.run(), DONE);
  await assertGone(Number(bench.text("stdout")));
});

Deno.test("a grandchild lives on with leaveOrphans, and still does not hold the task", async () => {
  using bench = sh("sleep 600 & echo $!", { leaveOrphans: true });
  assertEquals(await bench.run(), DONE);
  const pid = Number(bench.text("stdout"));
  assertEquals(isAlive(pid), true);
  Deno.kill(pid, "SIGKILL");
});

Deno.test("killAll() ends every run at once", async () => {
  using bench = sh(`trap '' TERM; echo ready >&2; sleep 600; sleep 600`);
  const runs = [bench.run({ id: "a" }), bench.run({ id: "b" })];
  await Promise.all(["a", "b"].map((id) => lineOf(`${bench.directory}/${id}.1.stderr`)));
  bench.handler.killAll();
  for (const outcome of await Promise.all(runs)) {
    assert(outcome.kind === "failed");
    assertEquals(outcome.reason, "signal SIGKILL");
  }
});

Deno.test("binary output is kept byte by byte, and its tail is text", async () => {
  using bench = sh(`printf '\\000\\377\\n\\200' | tee /dev/stderr; exit 1`);
  const outcome = await bench.run();
  assert(outcome.kind === "failed");
  assertEquals(bench.bytes("stdout"), Uint8Array.of(0, 255, 10, 128));
  assertEquals(bench.bytes("stderr"), Uint8Array.of(0, 255, 10, 128));
  assertEquals(outcome.stderrTail, "\0\ufffd\n\ufffd");
});

Deno.test("huge output is neither kept nor lost: the tail is its end", async () => {
  using bench = sh("seq 1000000 >&2; seq 1000000; exit 1");
  const outcome = await bench.run();
  assert(outcome.kind === "failed");
  assertMatch(outcome.stderrTail!, /\n999999\n1000000\n$/);
  assertEquals(outcome.stderrTail!.length, 4_096);
  assertEquals(bench.bytes("stdout").length, 6_888_896);
  assertEquals(bench.bytes("stderr").length, 6_888_896);
});

Deno.test("output=null keeps the end of stderr for the dead queue", async () => {
  using bench = sh("echo gone; echo why >&2; exit 1", { output: { kind: "null" } });
  const outcome = await bench.run();
  assert(outcome.kind === "failed");
  assertEquals(outcome.stderrTail, "why\n");
});

Deno.test("an output directory that goes away is said and does not fail the task", async () => {
  const directory = await Deno.makeTempDir();
  using bench = sh("echo out", { output: { kind: "file", directory } });
  await Deno.remove(directory);
  assertEquals(await bench.run(), DONE);
  assertStringIncludes(bench.warnings.join("\n"), `"${directory}/t-1.1.stdout" cannot be written`);
});

Deno.test("an output directory that is missing at the start is refused", () => {
  const output = { kind: "file", directory: "/no/such/directory" } as const;
  const error = assertThrows(() => sh("echo out", { output }), InputError);
  assertStringIncludes(error.message, '"/no/such/directory" is none');
});

Deno.test("an id from strangers is only ever a file name, never a path", async () => {
  using bench = new Bench({ argv: ["echo", "x"] });
  for (const id of ["../../etc/x", "..", ".", "a/b", "\x1b[2J", "CON", "\ud800", "*"]) {
    assertEquals(await bench.run({ id }), DONE);
  }
  const names = [...Deno.readDirSync(bench.directory)].map((entry) => entry.name).sort();
  assertEquals(
    names,
    [
      "%1B%5B2J.1.stdout",
      "%2A.1.stdout",
      "%2E..1.stdout",
      "%2E.%2F..%2Fetc%2Fx.1.stdout",
      "%2E.1.stdout",
      "%EF%BF%BD.1.stdout",
      "CON.1.stdout",
      "a%2Fb.1.stdout",
    ].sort(),
  );
});

Deno.test("200 quick commands pile up neither zombies nor open files", async () => {
  // In a process of its own: tests that run beside this one have the same children and files.
  const program = new URL("quick_commands.ts", import.meta.url).pathname;
  const args = ["run", "-A", "--no-check", program, "200"];
  const { stdout, stderr } = await run(Deno.execPath(), { args });
  const { zombies, files, kinds } = JSON.parse(stdout || `{"kinds": ${JSON.stringify(stderr)}}`);
  assertEquals([kinds, zombies], [["done"], 0]);
  // Those of what is loaded by the first one.
  assert(files < 20, `${files} more files are open`);
});
