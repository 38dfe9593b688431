/** Programs that a release is packed with. */

/** @throws Error with what the program says */
export async function shell(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const output = await new Deno.Command(command, { args: [...args], stdin: "null", ...options })
    .output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();
  if (output.success) return text(output.stdout);
  throw new Error(`${command} ${args.join(" ")}: ${text(output.stderr) || `exit ${output.code}`}`);
}

/**
 * A folder as a .tar.gz that is the same bytes whenever it is made.
 *
 * @param date of all files, in seconds since 1970
 */
export async function pack(
  folder: string,
  name: string,
  file: string,
  date: number,
  fast: boolean,
) {
  const tar = file.replace(/\.gz$/, "");
  await shell("tar", [
    ...["--create", "--file", tar, "--format=gnu", "--sort=name", `--mtime=@${date}`],
    ...["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r-w,a+rX"],
    ...["--directory", folder, name],
  ]);
  await shell("gzip", [fast ? "--fast" : "-6", "--no-name", "--force", tar]);
}
