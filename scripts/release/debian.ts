/** The Debian package, from the folder `packaging/`. */
import { shell } from "./shell.ts";

export interface Package {
  readonly version: string;
  /** "amd64" */
  readonly architecture: string;
  /** Seconds since 1970. */
  readonly date: number;
  /** Large, and soon made. */
  readonly fast: boolean;
}

/** Where the parts of a release are that the package needs. */
export interface Parts {
  /** The one binary. */
  readonly binary: string;
  /** man/man1/..., completions/bash/... */
  readonly manual: string;
  readonly sbom: string;
}

const COMPLETIONS = {
  bash: "usr/share/bash-completion/completions",
  zsh: "usr/share/zsh/vendor-completions",
  fish: "usr/share/fish/vendor_completions.d",
};

/** @param work an empty folder; @param file the .deb */
export async function makeDebian(
  info: Package,
  parts: Parts,
  work: string,
  file: string,
): Promise<void> {
  const doc = "usr/share/doc/workqueue";
  for (
    const folder of [
      ...["DEBIAN", "usr/bin", "etc/workqueue/worker", "etc/workqueue/new_task"],
      ...["lib/systemd/system", "usr/share/man/man1"],
      ...[`${doc}/examples`, "usr/share/lintian/overrides", ...Object.values(COMPLETIONS)],
    ]
  ) {
    await Deno.mkdir(`${work}/${folder}`, { recursive: true });
  }
  await Deno.copyFile(parts.binary, `${work}/usr/bin/workqueue`);
  for (const name of ["new_task", "worker", "broker"]) {
    await Deno.symlink("workqueue", `${work}/usr/bin/${name}`);
  }
  for (const name of ["broker.service", "worker@.service", "new_task@.service"]) {
    await Deno.copyFile(`packaging/systemd/${name}`, `${work}/lib/systemd/system/${name}`);
  }
  for await (const { name } of Deno.readDir(`${parts.manual}/man/man1`)) {
    const page = `${work}/usr/share/man/man1/${name}`;
    await Deno.copyFile(`${parts.manual}/man/man1/${name}`, page);
    await shell("gzip", ["--best", "--no-name", page]);
  }
  for (const [kind, folder] of Object.entries(COMPLETIONS)) {
    for await (const { name } of Deno.readDir(`${parts.manual}/completions/${kind}`)) {
      await Deno.copyFile(
        `${parts.manual}/completions/${kind}/${name}`,
        `${work}/${folder}/${name}`,
      );
    }
  }
  await Deno.copyFile("packaging/debian/broker.conf", `${work}/etc/workqueue/broker.conf`);
  await Deno.copyFile(parts.sbom, `${work}/${doc}/workqueue.cdx.json`);
  for (const kind of ["openrc", "procd"]) {
    for (const name of ["broker", "worker"]) {
      await Deno.copyFile(`packaging/${kind}/${name}`, `${work}/${doc}/examples/${kind}-${name}`);
      await Deno.chmod(`${work}/${doc}/examples/${kind}-${name}`, 0o644);
    }
  }
  await writeTexts(info, work, doc);
  const env = { SOURCE_DATE_EPOCH: `${info.date}` };
  await shell("sh", ["-c", 'chmod -R u=rwX,go=rX "$1" && chmod 755 "$1"/DEBIAN/p*', "sh", work]);
  await shell("dpkg-deb", [
    "--root-owner-group",
    "-Zxz",
    info.fast ? "-z0" : "-z6",
    "--build",
    work,
    file,
  ], { env });
}

async function writeTexts({ version, architecture, date }: Package, work: string, doc: string) {
  const license = await Deno.readTextFile("LICENSE");
  const [, copyright] = /^Copyright \(c\) (.*)$/m.exec(license)!;
  const terms = license.slice(license.indexOf("Permission is")).trim();
  const indented = terms.split("\n").map((line) => line === "" ? " ." : ` ${line}`).join("\n");
  await fill("copyright", `${doc}/copyright`, { COPYRIGHT: copyright!, LICENSE: indented });
  await fill("lintian-overrides", "usr/share/lintian/overrides/workqueue", {});
  const maintainer = /^Maintainer: (.*)$/m.exec(
    await Deno.readTextFile("packaging/debian/control"),
  )![1];
  const day = new Date(date * 1_000).toUTCString().replace("GMT", "+0000");
  await Deno.writeTextFile(
    `${work}/${doc}/changelog`,
    `workqueue (${version}) stable; urgency=medium\n\n` +
      `  * Release ${version}; CHANGELOG.md of the project says what is new.\n\n` +
      ` -- ${maintainer}  ${day}\n`,
  );
  await shell("gzip", ["--best", "--no-name", `${work}/${doc}/changelog`]);
  const size = (await shell("du", ["-sk", "--apparent-size", work])).split("\t")[0]!;
  await fill("control", "DEBIAN/control", {
    VERSION: version,
    ARCHITECTURE: architecture,
    SIZE: size,
  });
  for (const name of ["conffiles", "postinst", "prerm", "postrm"]) {
    await fill(name, `DEBIAN/${name}`, {});
  }
  // What dpkg checks files by.
  await shell("sh", [
    "-c",
    'cd "$1" && find etc lib usr -type f ! -path etc/workqueue/broker.conf | LC_ALL=C sort | ' +
    "xargs md5sum >DEBIAN/md5sums",
    "sh",
    work,
  ]);

  async function fill(name: string, path: string, marks: Record<string, string>) {
    let text = await Deno.readTextFile(`packaging/debian/${name}`);
    for (const [mark, value] of Object.entries(marks)) text = text.replace(`@${mark}@`, value);
    await Deno.writeTextFile(`${work}/${path}`, text);
  }
}
