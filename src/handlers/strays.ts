/**
 * Processes that have left the group of their command (setsid(1), a daemon) and are known by a
 * variable in their environment, which they inherited. Linux shows it in /proc, to which this
 * program has no access by itself: sh and grep have. What gave up its environment is not found.
 */

/** $1 what is looked for, $2 the signal, $3 a process group that does not get it. */
const SCRIPT = `for file in $(grep -lsF -e "$1" /proc/[0-9]*/environ); do
  folder=\${file%/environ}
  read -r stat 2>/dev/null <$folder/stat || continue
  behind_name=\${stat##*) }
  group=\${behind_name#* * }
  [ "\${group%% *}" = "$3" ] || kill -s "$2" "\${folder#/proc/}" 2>/dev/null
done`;

/**
 * Sends a signal to every process with this text in its environment.
 *
 * @param text "NAME=VALUE", or the beginning of it
 * @param except the number of a process group that has got it already, and must not get it twice
 * @returns resolves when they were sent; goes on by itself when this process ends. Never rejects
 */
export async function signalStrays(
  text: string,
  signal: "TERM" | "KILL",
  except = 0,
): Promise<void> {
  if (Deno.build.os !== "linux") return;
  try {
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", SCRIPT, "sh", text, signal, String(except)],
      clearEnv: true, // else it would find itself
      env: { PATH: "/usr/bin:/bin" },
      cwd: "/",
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await child.status;
  } catch {
    // A host without sh, or without room for it: its group alone was ended.
  }
}
