/**
 * `workqueue`: new_task, worker and broker in one binary. Which of them it is says the name it is
 * called by, as that of a link, or else its first word.
 */
import { type Host, readVariable, runMain } from "./cli/main.ts";
import { findCall, giveUpOthers, type Role, ROLES } from "./cli/roles.ts";
import { EXIT, UsageError } from "./errors.ts";

/** Loaded when it is the one; the others are not. */
const PROGRAMS: Record<Role, () => Promise<{ run(host: Host): Promise<number> }>> = {
  new_task: () => import("./new_task.ts"),
  worker: () => import("./worker.ts"),
  broker: () => import("./broker.ts"),
};

const HELP = `Usage: workqueue new_task|worker|broker [OPTION]... [WORD]...
       workqueue --help|--version

Three programs in one file:

  new_task  puts a task on a durable queue
  worker    takes tasks from a queue and does them
  broker    is a durable AMQP 0-9-1 broker for one machine

Called by one of these names, as through a link, it is that program:

  ln -s workqueue worker
  ./worker --help

Each gives up at its start the permissions that only the others need.
`;

if (import.meta.main) await main();

async function main(): Promise<void> {
  const call = findCall(ownName(), Deno.args);
  if (call === undefined) return await runMain("workqueue", explain);
  const { role, args } = call;
  const env = giveUpOthers(role, readVariable);
  await runMain(role, async (host) => await (await PROGRAMS[role]()).run(host), { args, env });
}

/** Deno itself says only where the file is, to which the name may be a link. */
function ownName(): string {
  return (globalThis as { process?: { argv0?: string } }).process?.argv0 ?? "";
}

async function explain(host: Host): Promise<number> {
  const [word] = host.args;
  if (word === "--version" || word === "-V") {
    host.print(await (await import("./cli/version.ts")).describeVersion("workqueue"));
    return EXIT.ok;
  }
  if (word === "--help" || word === "-h") {
    host.print(HELP);
    return EXIT.ok;
  }
  const { didYouMean } = await import("./cli/suggest.ts");
  throw new UsageError(
    `the first word must be one of ${ROLES.join(", ")}, and ` +
      (word === undefined
        ? "there is none; --help says more"
        : `is ${JSON.stringify(word)}${didYouMean(word, ROLES, "workqueue ")}`),
  );
}
