/** What a process has started, and what that has, also when it has ended itself: a shell, say. */

/** A variable that all of them have. */
const MARK = "TEST_PROCESS";

/** For the environment of a process whose descendants are to be found. */
export function newMark(): Readonly<Record<string, string>> {
  return { [MARK]: crypto.randomUUID() };
}

/** SIGKILL to everybody who has the mark, a variable; nothing off Linux. */
export function killMarked(mark: Readonly<Record<string, string>>): void {
  if (Deno.build.os !== "linux") return;
  const [[name, value] = []] = Object.entries(mark);
  for (const { name: pid } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const environment = Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0");
      if (environment.includes(`${name}=${value}`)) Deno.kill(Number(pid), "SIGKILL");
    } catch {
      // it has ended, or is somebody else's
    }
  }
}

/** Not a zombie, which only waits for its parent to look. */
export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

/** All of this machine that can be seen; Linux. */
export function* processes() {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let stat: string;
    try {
      stat = Deno.readTextFileSync(`/proc/${name}/stat`);
    } catch {
      continue; // it has ended
    }
    const [, command, state, parent] = stat.match(/\((.*)\) (\S) (\d+)/s)!;
    yield { pid: Number(name), command, state, parent: Number(parent) };
  }
}
