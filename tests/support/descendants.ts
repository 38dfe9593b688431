/** What a process has started, and what that has, also when it has ended itself: a shell, say. */

/** A variable that all of them have. */
const MARK = "TEST_PROCESS";

/** For the environment of a process whose descendants are to be found. */
export function newMark(): Readonly<Record<string, string>> {
  return { [MARK]: crypto.randomUUID() };
}

/** SIGKILL to everybody who has the mark; nothing off Linux. */
export function killMarked(mark: Readonly<Record<string, string>>): void {
  if (Deno.build.os !== "linux") return;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = Deno.readTextFileSync(`/proc/${name}/environ`);
      if (environment.includes(`${MARK}=${mark[MARK]}`)) Deno.kill(Number(name), "SIGKILL");
    } catch {
      // it has ended, or is somebody else's
    }
  }
}
