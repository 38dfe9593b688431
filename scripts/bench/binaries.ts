/** What each program costs on the disk and at its start: the tables of docs/install.md. */
import { installed } from "../../tests/support/process.ts";
import { makeProgram } from "../program.ts";
import { commandOf, NAMES } from "../tasks.ts";
import { interleave, median, type Say } from "./measure.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Runs a command; prints the seconds of CPU it took, and the most KB that were resident. */
const WAIT4 = `
import os, sys
out = os.open(os.devnull, os.O_WRONLY)
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
  (os.POSIX_SPAWN_DUP2, out, 1)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
`;

interface Cost {
  /** Milliseconds of CPU to `--version`. */
  readonly cpu: number;
  /** The most that was resident, in MB. */
  readonly memory: number;
}

interface Row {
  readonly name: string;
  /** Left out where another row has it. */
  readonly file?: string;
  readonly command: readonly string[];
}

/** Why they cannot be measured, or undefined. */
export function binariesMissing(): string | undefined {
  if (!installed("python3")) return "python3 is not installed";
  const missing = [...NAMES, "workqueue"].find((name) => !installed(`${root}dist/${name}`));
  if (missing === undefined) return undefined;
  return `dist/${missing} is not there: deno task compile and deno task compile --single make it`;
}

/** Prints a row for each, as Markdown. */
export async function benchBinaries(rounds: number, say: Say): Promise<void> {
  const rows: Row[] = [
    ...NAMES.map((name) => {
      const file = `${root}dist/${name}`;
      return { name: `\`${name}\``, file, command: [file] };
    }),
    ...NAMES.map((name, index) => ({
      name: `\`workqueue\` as \`${name}\``,
      ...(index === 0 ? { file: `${root}dist/workqueue` } : {}),
      command: [`${root}dist/workqueue`, name],
    })),
    {
      name: `Deno ${Deno.version.deno} on \`src/worker.ts\``,
      file: Deno.execPath(),
      command: commandOf("worker", `${root}src/worker.ts`),
    },
    {
      name: `Deno ${Deno.version.deno} on the bundle`,
      file: Deno.execPath(),
      command: commandOf("worker", root + await makeProgram("worker")),
    },
  ];
  for (const { command } of rows) await costOf(command); // caches are warm for everybody
  const contestants = rows.map(({ name, command }) => ({ name, run: () => costOf(command) }));
  const costs = await interleave(rounds, contestants);
  const sizes = rows.map(({ file }) => file === undefined ? 0 : Deno.statSync(file).size);
  say("| binary | size | CPU to `--version` | memory |\n| --- | ---: | ---: | ---: |");
  for (const [i, { name }] of rows.entries()) {
    const cpu = median(costs[i]!.map((cost) => cost.cpu));
    const memory = median(costs[i]!.map((cost) => cost.memory));
    say(`| ${name} | ${inMegabytes(sizes[i]!)} | ${cpu.toFixed(0)} ms | ${memory.toFixed(0)} MB |`);
    if (i !== NAMES.length - 1) continue;
    const all = sizes.slice(0, NAMES.length).reduce((sum, size) => sum + size);
    say(`| all three | ${inMegabytes(all)} | | |`);
  }
  say(
    `\nMedians of ${rounds} starts in turn; the least CPU of each: ${
      costs.map((row) => Math.min(...row.map(({ cpu }) => cpu)).toFixed(0)).join(", ")
    } ms. Load ${Deno.loadavg()[0]!.toFixed(1)}.`,
  );
}

function inMegabytes(bytes: number): string {
  return bytes === 0 ? "" : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function costOf(command: readonly string[]): Promise<Cost> {
  const { stdout, stderr } = await new Deno.Command("python3", {
    args: ["-c", WAIT4, ...command, "--version"],
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  const [code, seconds, kilobytes] = text.trim().split(" ").map(Number) as [number, number, number];
  if (code === 0) return { cpu: seconds * 1_000, memory: kilobytes / 1_000 };
  throw new Error(`${command.join(" ")} failed: ${text}${new TextDecoder().decode(stderr)}`);
}
