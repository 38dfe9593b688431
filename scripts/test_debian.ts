/**
 * The Debian package in a Debian of its own with a real systemd (root, debootstrap,
 * systemd-container; minutes): installed, upgraded from a version built before while 10,000 tasks
 * wait, killed, removed, purged.
 *
 *   deno task test:debian [ROOT]     ROOT: a Debian with systemd and adduser, made by debootstrap
 */
// deno-lint-ignore-file no-console
import config from "../deno.json" with { type: "json" };
import { shell } from "./release/shell.ts";

const UNIT = `[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c '/probe/probe.sh ${config.version} >/probe/log 2>&1'
ExecStopPost=/bin/sh -c 'systemctl exit'
`;

async function main(): Promise<number> {
  const work = await Deno.makeTempDir({ prefix: "debian-" });
  try {
    const given = Deno.args[0];
    const root = given ?? `${work}/root`;
    if (given === undefined) {
      const include = "--include=systemd,systemd-sysv,dbus,adduser";
      await shell("debootstrap", ["--variant=minbase", include, "stable", root]);
    }
    const probe = `${work}/probe`;
    await Deno.mkdir(probe);
    for (const [name, version] of [["old", "0.0.1"], ["new", config.version]] as const) {
      const out = `${work}/${name}`;
      const options = ["--offline", "--fast", "--version", version, "--out", out];
      await shell(Deno.execPath(), ["task", "--quiet", "release", ...options]);
      await Deno.rename(`${out}/workqueue_${version}_amd64.deb`, `${probe}/${name}.deb`);
    }
    await Deno.copyFile("scripts/debian/probe.sh", `${probe}/probe.sh`);
    await Deno.chmod(`${probe}/probe.sh`, 0o755);
    await Deno.writeTextFile(`${work}/probe.service`, UNIT);
    await shell("systemd-nspawn", [
      ...["--quiet", `--directory=${root}`, "--volatile=overlay", "--private-network"],
      ...["--register=no", "--keep-unit", "--console=pipe", `--bind=${probe}:/probe`],
      ...[`--bind-ro=${work}/probe.service:/etc/systemd/system/probe.service`, "--boot", "--"],
      "systemd.wants=probe.service",
    ]);
    const log = await Deno.readTextFile(`${probe}/log`);
    if (log.endsWith("all of it went well\n")) return 0;
    console.error(log);
    return 1;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

if (import.meta.main) {
  try {
    const code = await main();
    if (code === 0) console.log("the package was installed, upgraded, removed and purged");
    Deno.exit(code);
  } catch (error) {
    console.error(`test_debian: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
