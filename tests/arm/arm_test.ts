/**
 * The tools' main path on aarch64, as most small devices are: the Deno of npm for that machine, under
 * qemu, with the C library of Debian's cross compiler.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { permissionsOf } from "../../scripts/tasks.ts";
import { installed, type Output, run, spawn, type TestProcess } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import type { ToolName } from "../support/tools.ts";
import { unless } from "../support/unless.ts";

const QEMU = "qemu-aarch64-static";
const LIBRARIES = "/usr/aarch64-linux-gnu";
const DENO = `@deno/linux-arm64-glibc@${Deno.version.deno}`;
/** For 85 MB from npm. */
const PATIENCE_MS = 180_000;

const root = new URL("../../", import.meta.url).pathname;
/** The path of the Deno, once it is installed. */
let deno = "";

const missing = !installed(QEMU)
  ? `${QEMU} is not installed`
  : !existsSync(`${LIBRARIES}/lib/libgcc_s.so.1`)
  ? "libc6-arm64-cross and libgcc-s1-arm64-cross are not installed"
  : await install();

/** @returns why it is not there */
async function install(): Promise<string | undefined> {
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  const folder = `${cache}/workqueue-arm64/${Deno.version.deno}`;
  deno = `${folder}/node_modules/@deno/linux-arm64-glibc/deno`;
  if (existsSync(deno)) return undefined;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/package.json`, '{"private":true}\n');
  const { code } = await run("npm", {
    args: [
      ...["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", "--force"],
      ...["--os=linux", "--cpu=arm64", DENO],
    ],
    timeoutMs: PATIENCE_MS,
  });
  return code === 0 && existsSync(deno) ? undefined : `npm cannot install ${DENO}`;
}

function start(
  name: ToolName,
  args: readonly string[],
  env: Record<string, string>,
): TestProcess {
  const flags = ["--quiet", "--no-check", "--config", `${root}deno.json`, ...permissionsOf(name)];
  return spawn(QEMU, {
    args: [deno, "run", ...flags, `${root}src/${name}.ts`, ...args],
    env: { QEMU_LD_PREFIX: LIBRARIES, ...env },
    killOnDispose: true,
  });
}

async function finish(...given: Parameters<typeof start>): Promise<Output> {
  await using process = start(...given);
  const output = await process.ended();
  assertEquals(output.code, 0, output.stderr);
  return output;
}

Deno.test({
  ...unless(
    missing,
    "aarch64: a task is sent, forwarded and done by a command, through the broker",
  ),
  async fn() {
    await using temp = await tempDir();
    await using broker = start("broker", ["--data", temp.file("data"), "--port", "0"], {});
    const [, port] = await broker.waitForLog(/ready: amqp:\/\/127\.0\.0\.1:(\d+) /);
    const env = { AMQP_URL: `amqp://127.0.0.1:${port}/` };

    const { stdout } = await finish("new_task", [
      "--queue",
      "here",
      "--id",
      "a",
      "--timeout",
      "60s",
      "body",
    ], env);
    assertEquals(stdout, " [x] Sent body\n");
    const to = ["--to", env.AMQP_URL, "--queue", "here", "--to-queue", "there"];
    await finish(
      "worker",
      ["forward", ...to, "--exit-when-empty", "--connect-timeout", "60s"],
      env,
    );
    // It runs no program of another machine, and so its /bin/sh looks like one of its own.
    await Deno.mkdir(temp.file("root/bin"), { recursive: true });
    await Deno.symlink(`${LIBRARIES}/lib`, temp.file("root/lib"));
    // Its size is what the system says of the real one, and so it must be smaller than that.
    await Deno.symlink(`${LIBRARIES}/lib/libdl.so.2`, temp.file("root/bin/sh"));
    const machine = { QEMU_LD_PREFIX: temp.file("root") };
    const command = temp.file("command");
    await Deno.writeTextFile(command, '#!/bin/sh\ncat >"$0.out"\n', { mode: 0o755 });
    const work = ["--queue", "there", "--max-tasks", "1", "--", command];
    const { stderr } = await finish("worker", work, { ...env, ...machine });
    assertMatch(stderr, / done .*id=a attempt=1/);
    assertEquals(await Deno.readTextFile(temp.file("command.out")), "body");

    broker.kill("SIGTERM");
    assertEquals((await broker.ended()).code, 0);
  },
});
