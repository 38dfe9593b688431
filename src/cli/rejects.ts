/** A file for records that are no tasks. */
import { EXIT, InputError, reason, ToolError } from "../errors.ts";

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
    const why = error instanceof Deno.errors.NotCapable
      ? "devices and system files are closed to this program"
      : reason(error);
    throw new InputError(`cannot write ${what}: ${why}`, EXIT.noInput, { cause: error });
  });
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
      inTurn(() => {
        const line = { ...place, reason: error.message, ...asText(record ?? new Uint8Array()) };
        return write(new TextEncoder().encode(JSON.stringify(line) + "\n"));
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

function asText(record: Uint8Array): { record: string } | { record_base64: string } {
  try {
    return { record: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(record) };
  } catch {
    let binary = "";
    for (const byte of record) binary += String.fromCharCode(byte);
    return { record_base64: btoa(binary) };
  }
}
