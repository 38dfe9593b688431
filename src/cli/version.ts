/** What `--version` tells. Loaded when it is asked for. */
import { VERSION } from "./main.ts";

/** `deno task compile` puts the commit here, and says when there were changes besides. */
const COMMIT: string = "@COMMIT@";

/** How many digits of a commit are shown. */
export const COMMIT_DIGITS = 12;

/** "worker 0.1.0 (commit 0123456789ab, Deno 2.9.1, x86_64-unknown-linux-gnu)", a line. */
export async function describeVersion(name: string): Promise<string> {
  const facts = [await origin(), `Deno ${Deno.version.deno}`, Deno.build.target];
  return `${name} ${VERSION} (${facts.join(", ")})\n`;
}

async function origin(): Promise<string> {
  if (!COMMIT.startsWith("@")) return `commit ${COMMIT}`;
  const commit = await checkedOut().catch(() => undefined);
  return commit === undefined ? "from source" : `from a working tree on commit ${commit}`;
}

/** The commit that the folder of the sources is on. @throws it is no working tree of git */
async function checkedOut(): Promise<string | undefined> {
  const root = `${import.meta.dirname}/../..`;
  let folder = `${root}/.git`;
  if ((await Deno.stat(folder)).isFile) {
    folder = (await read(folder)).replace(/^gitdir: /, ""); // one of several working trees
  }
  const head = await read(`${folder}/HEAD`);
  const branch = /^ref: (.*)$/.exec(head)?.[1];
  if (branch === undefined) return shortened(head);
  const common = await read(`${folder}/commondir`).then(
    (path) => path.startsWith("/") ? path : `${folder}/${path}`,
    () => folder,
  );
  const loose = await read(`${common}/${branch}`).catch(() => undefined);
  if (loose !== undefined) return shortened(loose);
  const packed = (await read(`${common}/packed-refs`)).split("\n");
  return shortened(packed.find((line) => line.endsWith(` ${branch}`)) ?? "");
}

async function read(path: string): Promise<string> {
  return (await Deno.readTextFile(path)).trimEnd();
}

function shortened(line: string): string | undefined {
  return /^[0-9a-f]{40,}/.exec(line)?.[0].slice(0, COMMIT_DIGITS);
}
