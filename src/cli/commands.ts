/** Runs subcommands: words that begin a command line of their own, "worker dead". */
import type { Commands } from "./help/page.ts";
import type { Host } from "./main.ts";

/**
 * Runs the subcommand that the command line begins with. An option first, or "--", and there is
 * none.
 *
 * @returns the exit status; undefined: it begins with no name of a subcommand
 */
export async function runCommand(commands: Commands, host: Host): Promise<number | undefined> {
  const [name, ...args] = host.args;
  if (name === undefined || !Object.hasOwn(commands, name)) return undefined;
  return await (await commands[name]!.load()).run(host, args);
}
