/** `broker restore`: makes a folder of data from a backup. */
import { restoreData } from "../broker/store/still/backup.ts";
import { EXIT, UsageError } from "../errors.ts";
import { parseCommandLine } from "./command_line.ts";
import { DATA_EXIT_HELP, DATA_FLAGS, describe } from "./data_flags.ts";
import type { HelpPage } from "./help/page.ts";
import type { Host } from "./main.ts";
import { tell } from "./tell.ts";

export const help: HelpPage = {
  name: "broker restore",
  summary: "make a folder of data from a backup",
  usage: ["broker restore [--data DIR] FILE"],
  about: "Makes a folder of data from a backup. There must be no data in it yet: move them away " +
    "first. What root restores belongs to the owner of the folder. What a restored backup repeats " +
    "is in broker backup --help all.",
  examples: [
    ["Into a new folder:", "broker restore -d /var/lib/broker /backup/broker.db"],
    ["Look at it first:", "broker check /backup/broker.db"],
    ["Data that cannot be used any more make room:", "mv /var/lib/broker /var/lib/broker.old"],
  ],
  flags: DATA_FLAGS,
  sections: [DATA_EXIT_HELP],
  words: "file",
};

/** Runs `broker restore`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(DATA_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  const [file] = words;
  if (words.length !== 1 || !file) {
    throw new UsageError(`broker restore needs one backup, and was given ${words.length}`);
  }
  host.print(`${values.data}: ${describe(restoreData(file, values.data))}\n`);
  return EXIT.ok;
}
