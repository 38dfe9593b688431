/** A file that keeps which slots were sent, over restarts and power cuts. */
import { EXIT, InputError, reason, ToolError } from "../errors.ts";

/** Of a file that this program wrote. */
const VERSION = 1;

/** @returns undefined: there is none. @throws {InputError} unreadable (66), or something else (65) */
export async function readSlotFile(path: string): Promise<Map<string, number> | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new InputError(`cannot read ${nameOf(path)}: ${reason(error)}`, EXIT.noInput, {
      cause: error,
    });
  }
  try {
    const { version, slots } = JSON.parse(text);
    if (version !== VERSION || typeof slots !== "object") throw new Error();
    const positions = Object.entries<string>(slots)
      .map(([key, time]): [string, number] => [key, Date.parse(time)]);
    if (positions.some(([, time]) => Number.isNaN(time))) throw new Error();
    return new Map(positions);
  } catch {
    throw new InputError(
      `${nameOf(path)} must be one that --state has written, and is another`,
      EXIT.badData,
    );
  }
}

/** Replaces the file as a whole; resolves when it is on disk. @throws {ToolError} */
export async function writeSlotFile(
  path: string,
  slots: ReadonlyMap<string, number>,
): Promise<void> {
  const times = Object.fromEntries(
    [...slots].map(([key, time]) => [key, new Date(time).toISOString()]),
  );
  const bytes = new TextEncoder().encode(JSON.stringify({ version: VERSION, slots: times }) + "\n");
  const temporary = `${path}.new`;
  try {
    {
      using file = await openAlone(temporary);
      try {
        await file.truncate();
        for (let sent = 0; sent < bytes.length;) sent += await file.write(bytes.subarray(sent));
        await file.sync();
        await Deno.rename(temporary, path);
      } catch (error) {
        await Deno.remove(temporary).catch(() => {}); // a part of it is of no use
        throw error;
      }
      // Until here it is locked: who waits for it finds that it has another name, or none, and makes a
      // new one.
    }
    await syncFolder(path);
  } catch (error) {
    const exitCode = error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.PermissionDenied
      ? EXIT.noInput
      : EXIT.temporary;
    throw new ToolError(`cannot write ${nameOf(path)}: ${reason(error)}`, exitCode, {
      cause: error,
    });
  }
}

/** Opens a file that others with the same state write, too, and takes it for itself. */
async function openAlone(path: string): Promise<Deno.FsFile> {
  for (;;) {
    const file = await Deno.open(path, { write: true, create: true });
    try {
      await file.lock(true).catch(() => {}); // not every file system has locks
      const [mine, named] = await Promise.all([
        file.stat(),
        Deno.stat(path).catch(() => undefined),
      ]);
      // Windows tells no inodes.
      if (mine.ino === null || mine.ino === named?.ino) return file;
    } catch (error) {
      file.close();
      throw error;
    }
    file.close();
  }
}

/** The new name is on disk with its folder. Windows has no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : ".";
  using file = await Deno.open(folder);
  await file.sync();
}

function nameOf(path: string): string {
  return `the state file ${JSON.stringify(path)}`;
}
