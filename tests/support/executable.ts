/**
 * Programs that tests write and run. While a file is open for writing nobody can execute it ("text
 * file busy"), and what this process has open, whatever it starts at that moment for another test has
 * for a moment, too. So another process writes it.
 */
import { run, spawn } from "./process.ts";

/** Writes a file that is executed, over one that may be there. */
export function writeExecutable(path: string, content: string | Uint8Array): void {
  const plain = `${path}.plain`;
  Deno.writeFileSync(
    plain,
    typeof content === "string" ? new TextEncoder().encode(content) : content,
  );
  const copy = 'cp "$1" "$2" && chmod 755 "$2" && rm "$1"';
  const { success, stderr } = new Deno.Command("/bin/sh", {
    args: ["-c", copy, "sh", plain, path],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Copies a program to where it is executed. */
export async function copyExecutable(from: string, to: string): Promise<void> {
  const { code, stderr } = await run("cp", { args: [from, to] });
  if (code !== 0) throw new Error(stderr);
}

/** Somebody who is writing a file, until he is disposed. */
export async function writerOf(path: string): Promise<AsyncDisposable> {
  const writer = spawn("/bin/sh", {
    args: ["-c", 'exec 9>>"$1" && echo writes && read -r end', "sh", path],
    stdin: "open",
    killOnDispose: true,
  });
  await writer.waitForLine(/writes/);
  return writer;
}
