import { assertEquals, assertMatch } from "@std/assert";
import { Launcher, launcherProgram } from "../../src/handlers/launcher.ts";
import { writeExecutable } from "../support/executable.ts";
import { installed, run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

const QEMU = "qemu-aarch64-static";
const COMPLAINT = new TextEncoder().encode("not run\n");

/** How to run a program for that kind of machine, and why it cannot be run here. */
const MACHINES = [
  {
    arch: "x86_64",
    command: [],
    missing: Deno.build.os === "linux" && Deno.build.arch === "x86_64" ? "" : "another machine",
  },
  { arch: "aarch64", command: [QEMU], missing: installed(QEMU) ? "" : `${QEMU} is not installed` },
] as const;

/** A launcher whose file another process has written, so that it can be executed at once. */
function makeLauncher(folder: string): Launcher {
  const launcher = Launcher.make(folder)!;
  const program = Deno.readFileSync(launcher.file);
  Deno.removeSync(launcher.file);
  writeExecutable(launcher.file, program);
  return launcher;
}

for (const { arch, command, missing } of MACHINES) {
  Deno.test({
    name: `the launcher for ${arch} leads a session and becomes the command${
      missing && ` (${missing})`
    }`,
    ignore: missing !== "",
    fn: async () => {
      await using dir = await tempDir("launcher-");
      const file = dir.file("launcher");
      writeExecutable(file, launcherProgram(arch, COMPLAINT));
      const [program = "", ...args] = [...command, file];
      const launch = (...command: string[]) =>
        run(program, { args: [...args, ...command], env: { COLOUR: "blue" } });

      const script = 'ps -o pid=,sid= -p $$; echo "$0" "$#" "$2" "$COLOUR"; echo oh >&2; exit 7';
      const ran = await launch("/bin/sh", "-c", script, "name", "one", "two words");
      assertMatch(ran.stdout, /^ *(\d+) +\1\nname 2 two words blue\n$/);
      assertEquals([ran.stderr, ran.code], ["oh\n", 7]);

      const missing = await launch(`${dir.path}/none`);
      assertEquals([missing.stdout, missing.stderr, missing.code], ["", "not run\n", 127]);
    },
  });
}

Deno.test({
  name: "a launcher knows its own complaint, and takes nobody else's for it",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using dir = await tempDir("launcher-");
    const launcher = makeLauncher(dir.path);
    const { stderr } = await run(launcher.file, { args: [`${dir.path}/none`] });
    const bytes = new TextEncoder().encode(stderr);
    assertEquals(launcher.isComplaint(bytes), true);
    assertEquals(launcher.isComplaint(bytes.subarray(1)), false);
    assertEquals(launcher.isComplaint(new TextEncoder().encode(`${stderr}\n`)), false);
    await using other = await tempDir("launcher-");
    assertEquals(Launcher.make(other.path)!.isComplaint(bytes), false);
    // Where it cannot be made, there is none.
    assertEquals(Launcher.make(`${dir.path}/none`), undefined);
  },
});

Deno.test({
  name: "a launcher that does not run here is found out, though it ends like a command",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using dir = await tempDir("launcher-");
    const launcher = makeLauncher(dir.path);
    assertEquals(launcher.works, undefined);
    await launcher.tryOut();
    assertEquals(launcher.works, true);
    await using other = await tempDir("launcher-");
    const useless = Launcher.make(other.path)!;
    await Deno.writeTextFile(useless.file, "#!/bin/sh\nexit 127\n");
    await useless.tryOut();
    assertEquals(useless.works, false);
  },
});
