/** A file for records that are no tasks. */
import { EXIT, InputError, reason, ToolError } from "../errors.ts";
import { encodeBase64 } from "../observe/base64.ts";

export interface Rejects extends AsyncDisposable {
  /**
   * Adds a record.
   *
   * @param place such as {line: 7}
   * @throws {ToolError} it cannot be written
   */
  add(
    place: Readonly<Record<string, number>>,
    error: Error,
    record: Uint8Array | undefined,
  ): Promise<void>;
  /** Resolves when all of it is on disk. @throws {ToolError} */
  sync(): Promise<void>;
}

/** Adds to the file if it is there. @throws {InputError} it cannot be opened */
export async function openRejects(path: string): Promise<Rejects> {
  const what = `the file ${JSON.stringify(path)}`;
  const file = await Deno.open(path, { append: true, create: true }).catch((error) => {
    throw new InputError(`cannot write ${what}: ${reason(error)}`, EXIT.noInput, { cause: error });
  });
  let start = await isCutShort(path) ? "\n" : "";
  let last: Promise<void> = Promise.resolve();
  async function write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await file.write(bytes.subarray(sent));
  }
  function inTurn(act: () => Promise<void>): Promise<void> {
    const done = last.then(act).catch((error) => {
      throw new ToolError(`cannot write ${what}: ${reason(error)}`, EXIT.temporary, {
        cause: error,
      });
    });
    last = done.catch(() => {});
    return done;
  }
  return {
    add: (place, error, record) =>
      inTurn(async () => {
        const line = { ...place, reason: error.message, ...asText(record ?? new Uint8Array()) };
        await write(new TextEncoder().encode(`${start}${JSON.stringify(line)}\n`));
        start = "";
      }),
    sync: () =>
      inTurn(async () => {
        // Pipes and terminals have no disk.
        if ((await file.stat()).isFile) await file.sync();
      }),
    async [Symbol.asyncDispose]() {
      await last;
      file.close();
    },
  };
}

/** A full disk or a power cut has left the file without the end of its last line. */
async function isCutShort(path: string): Promise<boolean> {
  try {
    // Opening a named pipe would wait for somebody who writes to it.
    const { isFile, size } = await Deno.stat(path);
    if (!isFile || size === 0) return false;
    using file = await Deno.open(path);
    await file.seek(-1, Deno.SeekMode.End);
    const byte = new Uint8Array(1);
    return await file.read(byte) === 1 && byte[0] !== 0x0a;
  } catch {
    return false; // it may be written and not read
  }
}

function asText(record: Uint8Array): { record: string } | { record_base64: string } {
  try {
    return { record: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(record) };
  } catch {
    return { record_base64: encodeBase64(record) };
  }
}
