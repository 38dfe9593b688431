/**
 * The services of packaging/openrc/ in a Debian of their own with OpenRC (root, debootstrap;
 * minutes): scripts/openrc/probe.sh, with nothing but a loopback.
 *
 *   deno task compile --single && deno task test:openrc
 */
// deno-lint-ignore-file no-console
import { shell } from "./release/shell.ts";

const project = new URL("../", import.meta.url).pathname;

async function main(): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "openrc-" });
  try {
    const root = `${work}/root`;
    await shell("debootstrap", ["--variant=minbase", "--include=openrc", "bookworm", root]);
    await Deno.copyFile(`${project}dist/workqueue`, `${root}/usr/bin/workqueue`);
    for (const name of ["new_task", "worker", "broker"]) {
      await Deno.symlink("workqueue", `${root}/usr/bin/${name}`);
    }
    for (const name of ["worker", "broker"]) {
      await Deno.copyFile(`${project}packaging/openrc/${name}`, `${root}/etc/init.d/${name}`);
      await Deno.chmod(`${root}/etc/init.d/${name}`, 0o755);
    }
    await Deno.copyFile(`${project}scripts/openrc/probe.sh`, `${root}/probe.sh`);
    const line = 'ip link set lo up && exec chroot "$0" bash /probe.sh';
    // What is left of the services ends with the namespace.
    await shell("unshare", ["--mount", "--net", "--pid", "--fork", "sh", "-c", line, root]);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

try {
  await main();
  console.log("the services were started, killed and stopped");
} catch (error) {
  console.error(`test_openrc: ${error instanceof Error ? error.message : error}`);
  Deno.exit(1);
}
