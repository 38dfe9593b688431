/** What `deno task release` makes, and how install.sh installs it. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { installed, type Output, run, spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";

const root = new URL("../../", import.meta.url).pathname;
const TARGET = "x86_64-unknown-linux-gnu";
const ARCHIVE = `workqueue-${config.version}-${TARGET}.tar.gz`;

/** What sh is elsewhere. */
const SHELLS: readonly (readonly string[])[] = [["dash"], ["busybox", "sh"]];

const wanted = ["tar", "gzip", "dpkg-deb", "lintian", "curl"].find((name) => !installed(name));
const missing = Deno.build.target !== TARGET
  ? `needs ${TARGET}`
  : wanted && `${wanted} is not installed`;

async function release(out: string): Promise<void> {
  const { code, stderr } = await run(Deno.execPath(), {
    args: ["task", "--quiet", "release", "--offline", "--fast", "--out", out],
    cwd: root,
    timeoutMs: 300_000,
  });
  assertEquals(code, 0, stderr);
}

/** CycloneDX' own library and what it asks for, which Deno finds only in a folder of packages. */
const VALIDATOR = {
  "@cyclonedx/cyclonedx-library": "10.3.0",
  "ajv": "8.20.0",
  "ajv-formats": "3.0.1",
  "ajv-formats-draft2019": "1.6.1",
};

const VALIDATE = `
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot5);
const faults = await validator.validate(await Deno.readTextFile(Deno.args[0]));
console.log(faults === null ? "valid" : JSON.stringify(faults));`;

/** "valid", or what is wrong with a BOM. */
async function validate(file: string): Promise<string> {
  await using folder = await tempDir();
  const dependencies = JSON.stringify({ dependencies: VALIDATOR });
  await Deno.writeTextFile(folder.file("package.json"), dependencies);
  await Deno.writeTextFile(folder.file("validate.mjs"), VALIDATE);
  const { code, stdout, stderr } = await run(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--node-modules-dir=auto", "validate.mjs", file],
    cwd: folder.path,
  });
  assertEquals(code, 0, stderr);
  return stdout;
}

Deno.test({
  ...unless(missing, "a release"),
  async fn(t) {
    await using temp = await tempDir();
    const out = temp.file("release");
    await release(out);
    await t.step("is the same bytes when it is made again", async () => {
      await release(temp.file("again"));
      const [first, again] = await Promise.all(
        [out, temp.file("again")].map((folder) => Deno.readTextFile(`${folder}/SHA256SUMS`)),
      );
      assertEquals(first, again);
      await Deno.remove(temp.file("again"), { recursive: true });
      const { code, stdout } = await run("sha256sum", {
        args: ["--check", "SHA256SUMS"],
        cwd: out,
      });
      assertEquals(code, 0, stdout);
    });
    await t.step("has a Debian package of which lintian has nothing to say", async () => {
      const deb = `${out}/workqueue_${config.version}_amd64.deb`;
      const { code, stdout } = await run("lintian", {
        args: ["--allow-root", "--fail-on", "error,warning,info", "--display-info", deb],
        timeoutMs: 600_000,
      });
      assertEquals([code, stdout], [0, ""]);
    });
    await t.step("has an SBOM that is CycloneDX", async () => {
      const text = await Deno.readTextFile(`${out}/workqueue-${config.version}-${TARGET}.cdx.json`);
      const file = temp.file("sbom.json");
      await Deno.writeTextFile(file, text);
      assertEquals(await validate(file), "valid\n");
      await Deno.writeTextFile(file, text.replace('"library"', '"books"'));
      assertMatch(await validate(file), /allowedValues/);
      const names = JSON.parse(text).components.map(({ name }: { name: string }) => name);
      for (const name of ["deno", "amqp-client", "preact", "uplot", "croner"]) {
        assert(names.includes(name), name);
      }
    });
    await t.step("is installed by install.sh, or not at all", () => installAll(out));
    for (const shell of SHELLS) {
      await t.step({
        name: `is installed by ${shell.join(" ")}, where little is as one would like it`,
        ignore: !installed(shell[0]!),
        fn: () => installWith(shell, out),
      });
    }
  },
});

/** A server of the release; `change` makes its files bad. */
function serve(folder: string, change: { name?: string; bytes?: (all: Uint8Array) => Uint8Array }) {
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const name = new URL(request.url).pathname.slice(1);
    const bytes = await Deno.readFile(`${folder}/${name}`).catch(() => undefined);
    if (bytes === undefined) return new Response("no such file", { status: 404 });
    if (name !== change.name) return new Response(bytes);
    const part = change.bytes!(bytes) as Uint8Array<ArrayBuffer>;
    // Of what was promised a part comes, and then the end of the connection.
    const cut = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(part);
        if (part.length < bytes.length) controller.error(new Error("cut"));
        else controller.close();
      },
    });
    return new Response(cut, { headers: { "content-length": `${bytes.length}` } });
  });
}

async function installAll(out: string): Promise<void> {
  await using temp = await tempDir("test-", "/tmp");
  await Deno.chmod(temp.path, 0o755);
  const install = async (
    prefix: string,
    change: Parameters<typeof serve>[1] = {},
    as: readonly string[] = [],
  ): Promise<Output> => {
    await using server = serve(out, change);
    const script = ["sh", temp.file("install.sh"), "--url", `http://127.0.0.1:${server.addr.port}`];
    const args = [...as, ...script, "--prefix", prefix];
    return await run("env", { args, env: { TMPDIR: temp.path, HOME: temp.path }, cwd: "/" });
  };
  await Deno.copyFile(`${out}/install.sh`, temp.file("install.sh"));
  const good = temp.file("good");
  const installedOne = await install(good);
  assertEquals(installedOne.code, 0, installedOne.stderr);
  assertEquals(namesIn(`${good}/bin`), ["broker", "new_task", "worker", "workqueue"]);
  const told = await run(`${good}/bin/worker`, { args: ["--version"] });
  assertMatch(told.stdout, new RegExp(`^worker ${config.version} `));

  // What was there stays as it was, and nothing is left over.
  const before = await Deno.stat(`${good}/bin/workqueue`);
  const rows: [what: string, change: Parameters<typeof serve>[1], sentence: RegExp][] = [
    ["a wrong sum", { name: ARCHIVE, bytes: flipped }, /the SHA-256 sum of .* must be/],
    [
      "a cut download",
      { name: ARCHIVE, bytes: (all) => all.subarray(0, 1_000) },
      /cannot download/,
    ],
    ["no sum", { name: "SHA256SUMS", bytes: (all) => all.map(() => 10) }, /does not name/],
  ];
  for (const [what, change, sentence] of rows) {
    for (const prefix of [good, temp.file("new")]) {
      const { code, stderr } = await install(prefix, change);
      assertEquals(code, 1, `${what}: ${stderr}`);
      assertMatch(stderr, sentence);
      assertStringIncludes(stderr, "nothing was installed");
    }
    assertEquals(namesIn(temp.path), ["good", "install.sh"], what);
  }
  assertEquals((await Deno.stat(`${good}/bin/workqueue`)).ino, before.ino);

  if (Deno.uid() !== 0 || !installed("setpriv") || !installed("unshare")) return;
  // A folder of somebody else.
  await Deno.chmod(temp.path, 0o777);
  await Deno.chmod(good, 0o755);
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const closed = await install(good, {}, nobody);
  assertEquals(closed.code, 1);
  assertMatch(closed.stderr, /cannot write to .*; nothing was installed/);
  // A disk without room: a small one, in a namespace of its own.
  await Deno.mkdir(temp.file("small"));
  const full = await install(`${temp.path}/small`, {}, [
    ...["unshare", "--mount", "sh", "-ec"],
    `mount -t tmpfs -o size=8m tmpfs '${temp.path}/small'; "$@" || code=$?; ` +
    `find '${temp.path}/small/bin' -mindepth 1 >&2; exit "\${code:-0}"`,
    "sh",
  ]);
  assertEquals(full.code, 1, full.stderr);
  assertMatch(full.stderr, /cannot write to \S+; nothing was installed\n$/);
  assertEquals(namesIn(temp.path), ["good", "install.sh", "small"]);
}

/** Blanks in the path, a umask that closes all, no HOME, and an older version that is running. */
async function installWith(shell: readonly string[], out: string): Promise<void> {
  await using temp = await tempDir("a test-", "/tmp");
  await Deno.chmod(temp.path, 0o755);
  await using server = serve(out, {});
  const url = `http://127.0.0.1:${server.addr.port}`;
  const variables = [`PATH=${Deno.env.get("PATH")}`, `TMPDIR=${temp.path}`];
  const install = (...args: string[]) =>
    run("env", {
      args: ["-i", ...variables, "sh", "-c", 'umask 077; exec "$@"', "sh", ...shell, ...args],
      cwd: temp.path,
    });
  const script = [`${out}/install.sh`, "--url", url];

  const bin = temp.file("some where/bin");
  const first = await install(...script, "--prefix", "some where");
  assertEquals([first.code, first.stderr], [0, ""]);
  assertEquals(await modeOf(bin), 0o755);
  assertEquals(await modeOf(`${bin}/workqueue`), 0o755);

  // A program that runs is a file that nobody can write to.
  await using broker = spawn(`${bin}/broker`, { args: ["--port", "0", "--transient"] });
  await broker.waitForLog(/ready: /);
  const again = await install(...script, "--prefix", "some where");
  assertEquals([again.code, again.stderr], [0, ""]);
  assertEquals(namesIn(bin), ["broker", "new_task", "worker", "workqueue"]);
  broker.kill();
  assertEquals((await broker.ended()).code, 0);

  const asUser = await install(
    "-c",
    `id() { echo 1000; }; set -- --url '${url}'; . '${out}/install.sh'`,
  );
  assertEquals(asUser.code, 1);
  assertEquals(asUser.stderr, "install.sh: HOME must be set, or --prefix given\n");

  // Something else has the name.
  await Deno.mkdir(temp.file("taken/bin/workqueue"), { recursive: true });
  const taken = await install(...script, "--prefix", "taken");
  assertEquals(taken.code, 1);
  assertMatch(taken.stderr, /bin\/workqueue is there and not ours; nothing was installed\n$/);
  assertEquals(namesIn(temp.file("taken/bin")), ["workqueue"]);
  assertEquals(namesIn(temp.path), ["some where", "taken"]);
}

async function modeOf(file: string): Promise<number> {
  return (await Deno.stat(file)).mode! & 0o777;
}

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed[1_000]! ^= 1;
  return changed;
}

function namesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
}
