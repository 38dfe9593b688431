/** The units of systemd, as systemd itself judges them. */
import { assertEquals, assertMatch } from "@std/assert";
import { programTest, run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

const folder = new URL("../../packaging/systemd/", import.meta.url).pathname;
const UNITS = ["broker.service", "worker@.service", "new_task@.service"];
/** What is exposed of the system, of 10. */
const MOST_EXPOSED = 2.5;

programTest(
  "systemd-analyze",
  "systemd has nothing to say of the units, and finds little exposed",
  async () => {
    await using root = await tempDir();
    for (const name of ["broker", "worker", "new_task"]) {
      await Deno.writeTextFile(root.file(name), "#!/bin/sh\n", { mode: 0o755 });
    }
    for (const name of UNITS) {
      const unit = await Deno.readTextFile(folder + name);
      // The programs are not installed here.
      await Deno.writeTextFile(root.file(name), unit.replace("=/usr/bin/", `=${root.path}/`));
    }
    // Undoing escapes makes "my/queue" of "my-queue".
    const worker = await Deno.readTextFile(`${folder}worker@.service`);
    assertMatch(worker, /^Environment=WORK_QUEUE=%i$/m);
    const { code, stdout, stderr } = await run("systemd-analyze", {
      args: ["verify", "--man=no", ...UNITS.map((name) => root.file(name))],
    });
    assertEquals([code, stdout, stderr], [0, "", ""]);
    const threshold = `--threshold=${MOST_EXPOSED * 10}`;
    for (const name of UNITS) {
      const judged = await run("systemd-analyze", {
        args: ["security", "--offline=true", "--no-pager", threshold, folder + name],
      });
      assertEquals(judged.code, 0, judged.stdout.split("\n").slice(-3).join("\n"));
    }
  },
);
