/**
 * `workqueue`: new_task, worker and broker in one binary. Which of them it is says the name it is
 * called by, as that of a link, or else its first word.
 */
import { parseCommandLine } from "./cli/command_line.ts";
import { TOOL_FLAGS } from "./cli/general_flags.ts";
import type { Command, HelpPage } from "./cli/help/page.ts";
import { type Host, readVariable, runMain } from "./cli/main.ts";
import { findCall, giveUpOthers, type Role, ROLES } from "./cli/roles.ts";
import { tell } from "./cli/tell.ts";
import { EXIT, UsageError } from "./errors.ts";

/** Loaded when it is the one; the others are not. */
const PROGRAMS = {
  new_task: { summary: "put tasks on a durable queue", load: () => import("./new_task.ts") },
  worker: { summary: "take tasks from a queue and do them", load: () => import("./worker.ts") },
  broker: { summary: "keep work queues for one machine", load: () => import("./broker.ts") },
} satisfies Record<Role, Command>;

const { help: helpFlag, version, completions } = TOOL_FLAGS;
const FLAGS = { help: helpFlag, version, completions };

/** What is told about this tool. */
export async function help(): Promise<HelpPage> {
  return (await import("./cli/workqueue_help.ts")).helpOf(FLAGS, PROGRAMS);
}

if (import.meta.main) await main();

/** Runs this program, and ends the process. */
export async function main(): Promise<never> {
  const call = findCall(ownName(), Deno.args);
  if (call === undefined) return await runMain("workqueue", explain);
  const { role, args } = call;
  const env = giveUpOthers(role, readVariable);
  return await runMain(role, async (host) => await (await PROGRAMS[role].load()).run(host), {
    surroundings: { args, env },
  });
}

/** Deno itself says only where the file is, to which the name may be a link. */
function ownName(): string {
  return (globalThis as { process?: { argv0?: string } }).process?.argv0 ?? "";
}

async function explain(host: Host): Promise<number> {
  const { values, words } = await parseCommandLine(FLAGS, host.args, host.env, { stopEarly: true });
  if (await tell(host, values, help)) return EXIT.ok;
  const [word] = words;
  const { didYouMean } = await import("./cli/suggest.ts");
  throw new UsageError(
    `the first word must be one of ${ROLES.join(", ")}, and ` +
      (word === undefined
        ? "there is none; --help says more"
        : `is ${JSON.stringify(word)}${didYouMean(word, ROLES, "workqueue ")}`),
  );
}
