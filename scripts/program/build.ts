/**
 * Bundles of the programs for `deno task`, below .bundle/ in the project's folder: a folder for each,
 * NAME-HASH by what it was made of, in which the file `program` says what to run; and a file for each
 * program that says which one is in use, as -HASH. A task reads both: a folder that somebody has
 * removed is none.
 *
 * A bundle appears whole, by one rename, and looks itself whether it is still what the source says
 * (guard.ts). Folders that are not in use any more go when no running program holds them.
 */
import { bundle } from "../bundle.ts";
import { permissionsOf, type Program } from "../tasks.ts";
import { beginning, guard, type Stamps } from "./beginning.ts";
import { filesOf, stampsOf, unrestMs } from "./stamps.ts";

const root = import.meta.dirname!.slice(0, -"scripts/program".length);
const FOLDER = ".bundle";

/** How long making one may take; the first time its maker, esbuild, is downloaded. */
const LIMIT_MS = 20_000;
/** Whoever has been at it for longer was killed, in milliseconds. */
const ABANDONED_MS = 3 * LIMIT_MS;

/** How long to wait for source to come to rest, in milliseconds. */
const MOST_UNREST_MS = 1_000;

/** How long source must have rested before a stale bundle is made again, in milliseconds. */
const REST_MS = 60_000;

/** After which time it is tried again when a bundle could not be made, in milliseconds. */
const RETRY_MS = 3_600_000;

/** How old a folder must be to be removed, in milliseconds. */
const KEPT_MS = 3_600_000;
/** The same where the file system has no locks, and nobody knows whether it is held. */
const KEPT_BLINDLY_MS = 30 * 24 * 3_600_000;

/** How long a lock that is free may take, in milliseconds. */
const LOCK_MS = 200;

/** Where the program that is in use is, from the project's folder; undefined: nowhere yet. */
export async function inUse(name: Program): Promise<string | undefined> {
  try {
    const which = await Deno.readTextFile(root + pointerOf(name));
    return (await Deno.readTextFile(`${root}${pointerOf(name)}${which.trim()}/program`)).trim();
  } catch {
    return undefined;
  }
}

/**
 * Makes the bundle of a program, unless there is one of the same source, and puts it into use.
 *
 * @returns where it is, from the project's folder; undefined: the folder cannot be written, or
 * somebody makes one just now, or is writing at the source
 * @throws Error it cannot be made; until it is tried again, in an hour, the source is in use
 */
export async function build(name: Program): Promise<string | undefined> {
  const shop = `${FOLDER}/.${name}`;
  if (!await enter(shop)) return undefined;
  try {
    return await buildIn(shop, name);
  } catch (error) {
    await useSource(shop, name).catch(() => {}); // then it is tried at the next start
    throw error;
  } finally {
    await Deno.remove(root + shop, { recursive: true }).catch(() => {});
  }
}

/** What is half made is in there, and one at a time: a bundle takes more memory than its program. */
async function enter(shop: string): Promise<boolean> {
  try {
    await Deno.mkdir(root + FOLDER, { recursive: true });
    await Deno.mkdir(root + shop);
    return true;
  } catch {
    if (await ageOf(shop) > ABANDONED_MS) {
      await Deno.remove(root + shop, { recursive: true }).catch(() => {}); // the next start makes one
    }
    return false;
  }
}

async function buildIn(shop: string, name: Program): Promise<string | undefined> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const made = `${shop}/bundle`;
  await Deno.mkdir(root + made);
  const found = await findAtRest(made, name, signal);
  if (found === undefined) return undefined;
  const folder = `${FOLDER}/${name}-${await digest(found)}`;
  if (!await exists(root + folder)) {
    const parts = await bundle(name, root + made, { root, signal });
    const renewal = { pointer: pointerOf(name), restMs: REST_MS };
    for (const part of await guard(name, parts, found, renewal)) await sync(part);
    await sayWhere(made, folder, name);
    if (!await isAsBefore(found)) return undefined;
    await Deno.rename(root + made, root + folder);
  }
  await tryOut(name, folder, signal);
  await use(shop, name, folder);
  return programIn(folder, name);
}

/** @returns undefined: somebody had just written; when it takes no longer, that is waited out */
async function findAtRest(
  made: string,
  name: Program,
  signal: AbortSignal,
): Promise<Stamps | undefined> {
  const mark = `${root}${made}/held`;
  for (const mostMs of [MOST_UNREST_MS, 0]) {
    await Deno.writeTextFile(mark, `${performance.now()}`);
    const { ctime: now } = await Deno.stat(mark); // by the clock of the file system
    const files = await filesOf(name, root, signal);
    const first = await stampsOf(files.first, root);
    const later = await stampsOf(files.later, root);
    if (now === null || first === undefined || later === undefined) return undefined;
    const wait = unrestMs([...first, ...later], now.getTime());
    if (wait <= 0) return { first, later };
    if (wait > mostMs) return undefined;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return undefined;
}

/** Nobody has written at the source meanwhile. */
async function isAsBefore({ first, later }: Stamps): Promise<boolean> {
  const before = [...first, ...later];
  const after = await stampsOf(before.map(([path]) => path), root);
  return JSON.stringify(after) === JSON.stringify(before);
}

/** As a bundle that is always stale. */
async function useSource(shop: string, name: Program): Promise<void> {
  const made = `${shop}/source`;
  const folder = `${FOLDER}/${name}-${crypto.randomUUID()}`;
  await Deno.mkdir(root + made);
  await Deno.writeTextFile(`${root}${made}/held`, "");
  const program = root + programIn(made, name);
  const renewal = { pointer: pointerOf(name), restMs: RETRY_MS };
  await Deno.writeTextFile(program, beginning(name, [[`${folder}/held`, -1, 0, 0]], renewal));
  await sync(program);
  await sayWhere(made, folder, name);
  await Deno.rename(root + made, root + folder);
  await use(shop, name, folder);
}

/** @param made the folder, before it is renamed */
async function sayWhere(made: string, folder: string, name: Program): Promise<void> {
  const path = `${root}${made}/program`;
  await Deno.writeTextFile(path, `${programIn(folder, name)}\n`);
  await sync(path);
}

/** A power cut must not leave a program that is empty, and says that all is well. */
async function sync(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.sync();
}

/** That it starts: what fails while it is loaded could not be mended by editing the source. */
async function tryOut(name: Program, folder: string, signal: AbortSignal): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    // What is kept of compiled code should be that of a real run.
    args: ["run", "--quiet", "--no-code-cache", ...permissionsOf(name)]
      .concat(programIn(folder, name), "--version"),
    cwd: root,
    stdin: "null",
    signal,
  }).output();
  if (success) return;
  throw new Error(`its bundle does not start: ${new TextDecoder().decode(stderr).trim()}`);
}

async function use(shop: string, name: Program, folder: string): Promise<void> {
  const next = `${root}${shop}/next`;
  await Deno.writeTextFile(next, `${folder.slice(pointerOf(name).length)}\n`);
  await sync(next);
  await Deno.rename(next, root + pointerOf(name));
  await removeOthers(name, folder);
}

/** Removes what was in use before. */
async function removeOthers(name: Program, folder: string): Promise<void> {
  for await (const entry of Deno.readDir(root + FOLDER)) {
    const path = `${FOLDER}/${entry.name}`;
    if (!entry.name.startsWith(`${name}-`) || path === folder) continue;
    const age = await ageOf(path);
    if (age < KEPT_MS) continue;
    const held = await isHeld(`${root}${path}/held`);
    if (held === true || (held === undefined && age < KEPT_BLINDLY_MS)) continue;
    await Deno.remove(root + path, { recursive: true }).catch(() => {}); // somebody else has
  }
}

/** Milliseconds since something was made in there; 0: nobody knows. */
async function ageOf(path: string): Promise<number> {
  const { mtime = null } = await Deno.stat(root + path).catch(() => ({ mtime: null }));
  return mtime === null ? 0 : Date.now() - mtime.getTime();
}

/** @returns undefined: nobody knows */
async function isHeld(file: string): Promise<boolean | undefined> {
  try {
    using held = await Deno.open(file);
    // A lock that does not come ends with this process.
    return await Promise.race([
      held.lock(true).then(() => false),
      new Promise<boolean>((resolve) => Deno.unrefTimer(setTimeout(resolve, LOCK_MS, true))),
    ]);
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? false : undefined;
  }
}

function pointerOf(name: Program): string {
  return `${FOLDER}/${name}`;
}

function programIn(folder: string, name: Program): string {
  return `${folder}/${name}.js`;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function digest(stamps: Stamps): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(stamps));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
