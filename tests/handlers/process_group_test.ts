import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Launcher } from "../../src/handlers/launcher.ts";
import { type GroupOptions, LaunchError, ProcessGroups } from "../../src/handlers/process_group.ts";
import { writeExecutable, writerOf } from "../support/executable.ts";
import { tempDir } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";

Deno.test("a command that has ended before it is told to stop was not stopped", async () => {
  const stop = new AbortController();
  const said = Promise.withResolvers<string>();
  const running = new ProcessGroups().run({
    file: "/bin/sh",
    // The child holds stdout, for which the run waits a moment.
    args: ["-c", "sleep 600 & echo $$"],
    env: { PATH: "/usr/bin:/bin" },
    input: new Uint8Array(),
    stdout: (chunk) => {
      said.resolve(new TextDecoder().decode(chunk).trim());
      return Promise.resolve();
    },
    stderr: "null",
    signal: stop.signal,
    killAfterMs: 1_000,
  });
  const leader = await said.promise;
  await waitUntil("the leader to be gone", () => {
    try {
      return !Deno.statSync(`/proc/${leader}`);
    } catch {
      return true;
    }
  });
  await new Promise((resolve) => setTimeout(resolve)); // this process learns of it, too
  stop.abort();
  assertEquals(await running, { code: 0, signal: null, stopped: false, isDirect: false });
});

Deno.test({
  name:
    "a launcher, setsid(1) and Deno alone start the same, and say the same of what does not start",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using dir = await tempDir("launched-");
    const tool = dir.file("tool");
    writeExecutable(tool, await Deno.readFile("/bin/echo"));
    const ways: Partial<GroupOptions>[] = [
      { launcher: Launcher.make(dir.path) },
      {},
      { stderr: "null" },
      // It cannot be started itself, as on a disk that forbids programs.
      { launcher: await unstartable(`${dir.path}/forbidden`) },
    ];
    for (const way of ways) {
      const groups = new ProcessGroups();
      const start = async (file: string, args: readonly string[]) => {
        let said = "";
        const keep = (chunk: Uint8Array) => {
          said += new TextDecoder().decode(chunk);
          return Promise.resolve();
        };
        const { code } = await groups.run({
          file,
          args,
          env: { PATH: "/usr/bin:/bin" },
          input: new Uint8Array(),
          stdout: keep,
          stderr: keep,
          signal: new AbortController().signal,
          killAfterMs: 1_000,
          ...way,
        });
        return { code, said };
      };
      const session = await start("/bin/sh", ["-c", "ps -o pid=,sid= -p $$; exit 3"]);
      const [pid, sid] = session.said.trim().split(/ +/);
      assertEquals([session.code, pid], [3, sid]);
      assertEquals(await start(tool, ["one", "two"]), { code: 0, said: "one two\n" });
      {
        await using _writer = await writerOf(tool);
        const busy = await assertRejects(() => start(tool, []), LaunchError);
        assertStringIncludes(busy.message, "text file busy");
        assertEquals(busy.missing, false);
      }
      const gone = await assertRejects(() => start(`${dir.path}/none`, []), LaunchError);
      assertEquals(gone.missing, true);
      const tooMuch = await assertRejects(() => start(tool, ["x".repeat(200_000)]), LaunchError);
      assertStringIncludes(tooMuch.message, "argument list too long");
      assertEquals(await start(tool, ["still"]), { code: 0, said: "still\n" });
    }
  },
});

async function unstartable(folder: string): Promise<Launcher> {
  await Deno.mkdir(folder);
  const launcher = Launcher.make(folder)!;
  await Deno.chmod(launcher.file, 0o600);
  return launcher;
}
