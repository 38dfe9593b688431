/** The scripts for procd, run by the shell of small systems with what they call written down. */
import { assert, assertEquals } from "@std/assert";
import { pages } from "../../scripts/manual/tools.ts";
import { programTest, run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";

const folder = new URL("../../packaging/procd/", import.meta.url).pathname;

/** What OpenWrt's /etc/rc.common does for "start", as far as these scripts go. */
const RC_COMMON = String.raw`PATH=/nonexistent # of what it calls by mistake
initscript=$1
for name in procd_open_instance procd_set_param procd_close_instance mkdir chown chmod; do
  eval "$name() { printf '%s' $name; [ \$# -eq 0 ] || printf ' <%s>' \"\$@\"; echo; }"
done
. "$initscript"
[ "$USE_PROCD" = 1 ] && [ "$START" -gt "$STOP" ] && start_service
`;

/** What a script calls when it starts its service, a line each. */
async function started(name: string, etc: string): Promise<string[]> {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.file("rc.common"), RC_COMMON);
  const script = (await Deno.readTextFile(folder + name)).replaceAll("/etc/workqueue", etc);
  assert(script.startsWith("#!/bin/sh /etc/rc.common\n"));
  await Deno.writeTextFile(dir.file(name), script);
  const { code, stdout, stderr } = await run("busybox", {
    args: ["ash", "-eu", dir.file("rc.common"), dir.file(name)],
  });
  assertEquals([code, stderr], [0, ""]);
  for (const [command] of stdout.matchAll(/^procd_set_param <command> .*$/gm)) {
    const [, program, ...args] = [...command.matchAll(/<([^>]*)>/g)].map(([, word]) => word!);
    const { flags } = pages.find((page) => `/usr/bin/${page.name}` === program)!;
    for (const arg of args.filter((arg) => arg.startsWith("--"))) {
      assert(Object.hasOwn(flags, arg.slice(2)), arg);
    }
  }
  return stdout.trimEnd().split("\n");
}

programTest("busybox", "procd is told of the broker, which gets its folder", async () => {
  assertEquals(await started("broker", "/etc/workqueue"), [
    "mkdir <-p> </srv/workqueue-broker>",
    "chown <nobody:nogroup> </srv/workqueue-broker>",
    "chmod <700> </srv/workqueue-broker>",
    "procd_open_instance",
    "procd_set_param <command> </usr/bin/broker> <--data> </srv/workqueue-broker> " +
    "<--config> </etc/workqueue/broker.conf>",
    "procd_set_param <env> <MALLOC_ARENA_MAX=1> <MALLOC_MMAP_THRESHOLD_=131072>",
    "procd_set_param <user> <nobody>",
    "procd_set_param <respawn> <0> <2> <0>",
    "procd_set_param <term_timeout> <120>",
    "procd_set_param <stderr> <1>",
    "procd_close_instance",
  ]);
});

programTest("busybox", "procd is told of a worker for each file of options", async () => {
  await using etc = await tempDir();
  assertEquals(await started("worker", etc.path), [""]);
  await Deno.mkdir(etc.file("worker"));
  const files = ["mails", "two words"].map((name) => etc.file(`worker/${name}.conf`));
  for (const file of files) await Deno.writeTextFile(file, "");
  const calls = await started("worker", etc.path);
  assertEquals(calls.filter((call) => /open_instance|<command>|<env>/.test(call)), [
    "procd_open_instance <mails>",
    `procd_set_param <command> </usr/bin/worker> <--config> <${files[0]}>`,
    "procd_set_param <env> <WORK_QUEUE=mails>",
    "procd_open_instance <two words>",
    `procd_set_param <command> </usr/bin/worker> <--config> <${files[1]}>`,
    "procd_set_param <env> <WORK_QUEUE=two words>",
  ]);
  assertEquals(calls.filter((call) => call === "procd_close_instance").length, 2);
});
