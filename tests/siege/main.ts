/**
 * `deno task siege [--seconds N] [--short] [NAME]...`: what a bystander waits at most while each
 * attack lasts, as it was, and (quiet) without what it waited for a processor that others had; how
 * long the broker computed meanwhile; its memory. NAME is a part of an attack's name. Ends with 1 when
 * somebody waited too long, the broker took too much memory, or died.
 */
import { parseArgs } from "node:util";
import { ATTACKS } from "./attacks.ts";
import { besiege, type Result } from "./siege.ts";

/** Milliseconds, and bytes. */
const MOST_WAIT = 500;
const MOST_MEMORY = 300 * 1024 * 1024;

const { values: { seconds, short }, positionals: names } = parseArgs({
  args: Deno.args,
  options: {
    seconds: { type: "string", default: "30" },
    short: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const unknown = names.find((name) => !ATTACKS.some((attack) => attack.name.includes(name)));
if (unknown !== undefined) throw new Error(`no attack has "${unknown}" in its name`);

let failures = 0;
for (const attack of ATTACKS) {
  if (names.length > 0 && !names.some((name) => attack.name.includes(name))) continue;
  const result = await besiege(attack, { duration: Number(seconds) * 1000, short });
  const fault = faultOf(result);
  if (fault !== undefined) failures++;
  const wait = ms(result.longest);
  const quiet = ms(result.longestUnstarved);
  const computed = ms(result.mostComputed);
  const memory = showMemory(result.memory).padStart(7);
  const rounds = `${result.rounds}`.padStart(5);
  print(
    `${attack.name.padEnd(60)} ${wait}, quiet ${quiet}, computed ${computed} ${memory} ` +
      `${rounds} rounds  ${fault ?? ""}`,
  );
}
Deno.exit(failures > 0 ? 1 : 0);

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

function ms(milliseconds: number): string {
  return `${Math.round(milliseconds)} ms`.padStart(8);
}

function showMemory(bytes: number | undefined): string {
  return bytes === undefined ? "? MB" : `${Math.round(bytes / 1024 / 1024)} MB`;
}

function faultOf({ death, error, longest, memory }: Result): string | undefined {
  if (death !== undefined) return `died: ${death}`;
  if (error !== undefined) return error;
  if (longest > MOST_WAIT) return `waited more than ${MOST_WAIT} ms`;
  if (memory !== undefined && memory > MOST_MEMORY) {
    return `more than ${MOST_MEMORY / 1024 / 1024} MB`;
  }
  return undefined;
}
