/** `worker dead`: lists the tasks in a dead queue, shows them, and takes them out of it. */
import { inspectQueue, isMissing } from "../amqp/declare.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, TaskError, UsageError } from "../errors.ts";
import { deadQueue } from "../task/topology.ts";
import type { Task } from "../task/task.ts";
import { DeadQueue, type DeadSelection } from "../worker/dead.ts";
import { CONNECTION_FLAGS, EXIT_HELP, QUEUE_FLAGS, URL_HELP } from "./connection_flags.ts";
import { garbled, isGarbled, parseCommandLine } from "./command_line.ts";
import { detailLine, detailOf, summaryLine, summaryOf } from "./dead_view.ts";
import { type Flag, integer, toggle, type Values } from "./flags.ts";
import { type HelpPage } from "./help/page.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";
import { tell } from "./tell.ts";
import type { Host } from "./main.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";
import { connectorOf } from "./worker_connector.ts";

const match: Flag<RegExp | undefined> = {
  group: "task",
  value: "REGEX",
  help: "only tasks whose id, error or body matches",
  fallback: () => undefined,
  parse: (texts, source) => {
    try {
      return new RegExp(texts.at(-1)!, "u");
    } catch {
      throw new UsageError(
        `${source} must be a regular expression, and is ${JSON.stringify(texts.at(-1))}`,
      );
    }
  },
};

const DEAD_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: QUEUE_FLAGS.queue,
  "delay-queue-type": WORKER_FLAGS["delay-queue-type"],
  max: integer({
    group: "task",
    min: 1,
    max: 1_000_000,
    default: 100,
    help: "at most so many tasks",
  }),
  match,
  "max-replays": integer({
    group: "task",
    min: 1,
    max: 1_000_000,
    default: 3,
    help: "tasks that were replayed so often stay dead",
  }),
  "dry-run": toggle({ group: "task", help: "only say what would be done" }),
  json: toggle({
    group: "task",
    help: "print JSON for programs, an object a line for each task; what is not known is not there",
  }),
  ...GENERAL_FLAGS,
};
type DeadValues = Values<typeof DEAD_FLAGS>;

export const help: HelpPage = {
  name: "worker dead",
  summary: "list, show, replay or remove the tasks in NAME.dead",
  usage: [
    "worker dead ls [OPTION]...",
    "worker dead show|replay|purge [ID]... [OPTION]...",
  ],
  about:
    "Lists the tasks in NAME.dead, shows them with their bodies, puts them back on the queue " +
    "they came from with their attempts at 0, or removes them for good. All do so with the tasks " +
    "that --match selects, which looks at id, error and body; all but ls with those of exactly " +
    "the ids given, which is '' for tasks that have none.",
  examples: [
    ["See what failed:", "worker dead ls -q thumbnails"],
    [
      "Try again what timed out, once you have seen which that is:",
      "worker dead replay -q thumbnails --match 'timed out' --dry-run",
    ],
    ["Remove one:", "worker dead purge -q thumbnails img-42"],
  ],
  flags: DEAD_FLAGS,
  essential: ["url", "queue", "max", "match", "max-replays", "dry-run", "json", "help"],
  actions: {
    ls: "list them, a line each",
    show: "show them with their bodies",
    replay: "put them back on the queue that they came from",
    purge: "remove them for good",
  },
  sections: [QUEUE_NAMES_HELP, URL_HELP, EXIT_HELP],
};

/** Runs `worker dead ...`. */
export async function run(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(DEAD_FLAGS, args, host.env);
  if (await tell(host, values, () => help)) return EXIT.ok;
  const [action, ...ids] = words;
  if (!Object.hasOwn(help.actions!, action ?? "")) {
    const { didYouMean } = await import("./suggest.ts");
    throw new UsageError(
      "worker dead needs ls, show, replay or purge, and was given " +
        (action === undefined ? "none" : JSON.stringify(action)) +
        didYouMean(action ?? "", Object.keys(help.actions!)),
    );
  }
  if (action === "ls" && ids.length > 0) {
    throw new UsageError(`worker dead ls takes no words, and was given ${ids.length}`);
  }
  if (values.json && action !== "ls" && action !== "show") {
    throw new UsageError(`--json is for worker dead ls and show, and was given to ${action}`);
  }
  const unreadable = ids.find(isGarbled);
  if (unreadable !== undefined) throw new UsageError(`${garbled("an id")}: use --match`);
  return await connected(values, host, async (transport) => {
    const dead = new DeadQueue(transport, values.queue);
    const missing = new Set(ids);
    const selection = {
      max: values.max,
      ...(values.match === undefined ? {} : { match: values.match }),
      ...(ids.length === 0 ? {} : { ids: new Set(ids) }),
    };
    const seen = ({ id }: Task) => missing.delete(id);
    switch (action) {
      case "show":
        await show(host, dead, selection, values, seen);
        break;
      case "ls":
        await dead.list(selection, (task) => {
          return host.print(values.json ? summaryLine(task) : `${summaryOf(task)}\n`);
        });
        break;
      case "replay":
        await replay(host, dead, selection, values, seen);
        break;
      default:
        await purge(host, dead, selection, values, seen);
    }
    if (dead.missing) await requireQueue(transport, values.queue);
    if (dead.left > 0) {
      host.log.warn(`${dead.left} more dead tasks were not looked at: --max is ${values.max}`);
    }
    requireNone(missing, action!, values);
    return EXIT.ok;
  });
}

/**
 * A queue without dead tasks has no dead queue; one that never was is a slip.
 * @throws {TaskError} there is no such queue either
 */
async function requireQueue(transport: Transport, queue: string): Promise<void> {
  try {
    await inspectQueue(transport, queue);
  } catch (error) {
    if (!isMissing(error)) throw error;
    const [work, dead] = [queue, deadQueue(queue).name].map((name) => JSON.stringify(name));
    throw new TaskError(`there are no queues ${work} and ${dead}`, EXIT.unavailable);
  }
}

/** @throws {TaskError} some of the ids are of no dead task */
function requireNone(missing: ReadonlySet<string>, action: string, { match }: DeadValues): void {
  if (missing.size === 0) return;
  const names = [...missing].map((id) => JSON.stringify(id)).join(", ");
  throw new TaskError(
    `a task to ${action} must be a dead one${
      match === undefined ? "" : " that --match selects"
    }, ` +
      `and ${missing.size === 1 ? `${names} is none` : `these are none: ${names}`}`,
    EXIT.unavailable,
  );
}

async function show(
  host: Host,
  dead: DeadQueue,
  selection: DeadSelection,
  { json }: DeadValues,
  seen: (task: Task) => void,
): Promise<void> {
  let shown = 0;
  await dead.list(selection, async (task) => {
    seen(task);
    if (json) return await host.print(detailLine(task));
    await host.print(`${shown++ > 0 ? "----\n" : ""}${detailOf(task)}`);
  });
}

async function replay(
  host: Host,
  dead: DeadQueue,
  selection: DeadSelection,
  values: DeadValues,
  seen: (task: Task) => void,
): Promise<void> {
  const verb = values["dry-run"] ? "would replay" : "replayed";
  const count = await dead.replay({
    ...selection,
    dryRun: values["dry-run"],
    maxReplays: values["max-replays"],
    queueType: values["delay-queue-type"],
    onTask: (task, fate) => {
      seen(task);
      return host.print(
        fate === "kept"
          ? `kept, replayed ${values["max-replays"]} times already: ${summaryOf(task)}\n`
          : `${verb} ${summaryOf(task)}\n`,
      );
    },
  });
  host.print(`${verb} ${count}\n`);
}

async function purge(
  host: Host,
  dead: DeadQueue,
  selection: DeadSelection,
  values: DeadValues,
  seen: (task: Task) => void,
): Promise<void> {
  const verb = values["dry-run"] ? "would remove" : "removed";
  const count = await dead.purge(
    selection,
    (task) => {
      seen(task);
      return host.print(`${verb} ${summaryOf(task)}\n`);
    },
    values["dry-run"],
  );
  host.print(`${verb} ${count}\n`);
}

async function connected(
  values: Values<typeof CONNECTION_FLAGS>,
  host: Host,
  use: (transport: Transport) => Promise<number>,
): Promise<number> {
  const transport = await connectorOf(values, host).connect();
  try {
    return await use(transport);
  } finally {
    await transport.shutdown();
  }
}
