/**
 * Packs a release into a folder, for every target that can be compiled here:
 *
 *   deno task release [--out FOLDER] [--offline] [--url URL] [--version VERSION] [--fast]
 *
 *   workqueue-VERSION-TARGET.tar.gz   the one binary, links, manual, completions, units
 *   workqueue_VERSION_ARCH.deb        for Debian and its children
 *   workqueue-VERSION-TARGET.cdx.json what the binary is made of (CycloneDX)
 *   install.sh                        installs from URL, where these files will be
 *   SHA256SUMS                        of all of them
 *
 * Made twice from the same commit, they are the same bytes; times are those of the commit, or
 * SOURCE_DATE_EPOCH. --offline makes it for this host, with a runtime from npm; --fast packs it for
 * tests, and large.
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import config from "../deno.json" with { type: "json" };
import { sourceDate, TARGETS } from "./compile.ts";
import { OFFLINE_VERSION } from "./offline_denort.ts";
import { makeDebian } from "./release/debian.ts";
import { sbom } from "./release/sbom.ts";
import { pack, shell } from "./release/shell.ts";

/** Of Debian, for targets that have one. */
const ARCHITECTURES: Record<string, string> = {
  "x86_64-unknown-linux-gnu": "amd64",
  "aarch64-unknown-linux-gnu": "arm64",
};

const USAGE =
  "Usage: deno task release [--out FOLDER] [--offline] [--url URL] [--version VERSION] [--fast]";

interface Options {
  readonly out: string;
  readonly offline: boolean;
  readonly url: string;
  readonly version: string;
  readonly fast: boolean;
}

async function main(): Promise<void> {
  const options = readOptions(Deno.args);
  const date = await sourceDate();
  const work = await Deno.makeTempDir({ prefix: "release-" });
  try {
    await Deno.mkdir(options.out, { recursive: true });
    for await (const { name } of Deno.readDir(options.out)) {
      throw new Error(`the folder ${options.out} must be empty, and has ${name}`);
    }
    await shell(Deno.execPath(), ["task", "--quiet", "manual", `${work}/manual`], {
      env: { SOURCE_DATE_EPOCH: `${date}` },
    });
    const failures: string[] = [];
    for (const target of options.offline ? [Deno.build.target] : TARGETS) {
      try {
        await releaseFor(target, options, date, work);
      } catch (error) {
        failures.push(`${target}: ${(error as Error).message}`);
      }
    }
    const installer = (await Deno.readTextFile("packaging/install.sh"))
      .replace("@URL@", options.url).replace("@VERSION@", options.version);
    await Deno.writeTextFile(`${options.out}/install.sh`, installer, { mode: 0o755 });
    await writeSums(options.out);
    for (const failure of failures) console.error(`release: nothing for ${failure}`);
    if (failures.length > 0) Deno.exitCode = 1;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** @throws Error one of them is not known, or wrong */
export function readOptions(args: readonly string[]): Options {
  const parsed = parseArgs([...args], {
    string: ["out", "url", "version"],
    boolean: ["offline", "fast"],
    unknown: (arg) => {
      throw new Error(`the argument "${arg}" is not known\n${USAGE}`);
    },
  });
  const text = (name: string): string | undefined => parsed[name] as string | undefined;
  const version = text("version") ?? config.version;
  if (!/^\d+\.\d+\.\d+[a-z0-9.~+]*$/.test(version)) {
    throw new Error(`--version must be like 1.2.3, and is ${version}`);
  }
  return {
    out: text("out") ?? "release",
    offline: parsed.offline === true,
    url: text("url") ?? "",
    version,
    fast: parsed.fast === true,
  };
}

async function releaseFor(
  target: string,
  { out, offline, version, fast }: Options,
  date: number,
  work: string,
): Promise<void> {
  const binary = await compile(target, offline, `${work}/${target}`, date);
  const suffix = binary.endsWith(".exe") ? ".exe" : "";
  const name = `workqueue-${version}-${target}`;
  const bom = `${out}/${name}.cdx.json`;
  await Deno.writeTextFile(
    bom,
    await sbom({ version, target, deno: offline ? OFFLINE_VERSION : Deno.version.deno, date }),
  );

  const folder = `${work}/archive/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.copyFile(binary, `${folder}/workqueue${suffix}`);
  if (suffix === "") {
    for (const link of ["new_task", "worker", "broker"]) {
      await Deno.symlink("workqueue", `${folder}/${link}`);
    }
  }
  const documents = ["LICENSE", "README.md", "CHANGELOG.md", "docs"];
  await shell("cp", [
    "-R",
    ...documents,
    `${work}/manual/man`,
    `${work}/manual/completions`,
    folder,
  ]);
  await Deno.mkdir(`${folder}/packaging`);
  await shell("cp", [
    ...["-R", "packaging/systemd", "packaging/openrc", "packaging/procd"],
    `${folder}/packaging`,
  ]);
  await Deno.copyFile(bom, `${folder}/workqueue.cdx.json`);
  await pack(`${work}/archive`, name, `${out}/${name}.tar.gz`, date, fast);

  const architecture = ARCHITECTURES[target];
  if (architecture === undefined) return;
  const staging = `${work}/debian-${architecture}`;
  const parts = { binary, manual: `${work}/manual`, sbom: bom };
  const file = `${out}/workqueue_${version}_${architecture}.deb`;
  await makeDebian({ version, architecture, date, fast }, parts, staging, file);
}

async function compile(target: string, offline: boolean, out: string, date: number) {
  const where = offline ? ["--offline"] : ["--target", target];
  const args = ["task", "--quiet", "compile", "--single", "--out", out, ...where];
  await shell(Deno.execPath(), args, { env: { SOURCE_DATE_EPOCH: `${date}` } });
  const folder = offline ? out : `${out}/${target}`;
  return `${folder}/workqueue${target.includes("windows") ? ".exe" : ""}`;
}

async function writeSums(folder: string): Promise<void> {
  const names = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  const sums = await shell("sha256sum", ["--", ...names], { cwd: folder });
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, sums + "\n");
  console.log(sums);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(`release: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
