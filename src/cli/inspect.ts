/** `worker dead` and `worker queues`: looking at queues instead of working. */
import { Connector } from "../amqp/connection.ts";
import { inspectQueue, isMissing } from "../amqp/declare.ts";
import type { Transport } from "../amqp/transport.ts";
import { EXIT, TaskError, ToolError, UsageError } from "../errors.ts";
import { escapeControls } from "../observe/log.ts";
import { HEADER } from "../task/headers.ts";
import type { Task } from "../task/task.ts";
import { deadQueue, delayQueue, delayTiers } from "../task/topology.ts";
import { DeadQueue, type Selection } from "../worker/dead.ts";
import {
  CONNECTION_FLAGS,
  EXIT_HELP,
  QUEUE_FLAGS,
  readEndpoints,
  URL_HELP,
} from "./broker_flags.ts";
import {
  type Flag,
  garbled,
  type HelpPage,
  integer,
  isGarbled,
  parseCommandLine,
  renderHelp,
  toggle,
  type Values,
} from "./flags.ts";
import { type Host, VERSION } from "./main.ts";
import { QUEUE_NAMES_HELP } from "./queue_names.ts";
import { onSignals } from "./signals.ts";
import { WORKER_FLAGS } from "./worker_flags.ts";
import { sleep } from "../time/sleep.ts";

const match: Flag<RegExp | undefined> = {
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
  max: integer({ min: 1, max: 1_000_000, default: 100, help: "at most so many tasks" }),
  match,
  "max-replays": integer({
    min: 1,
    max: 1_000_000,
    default: 3,
    help: "tasks that were replayed so often stay dead",
  }),
  "dry-run": toggle({ help: "only say what would be done" }),
  help: toggle({ help: "print this page", alone: true }),
};
type DeadValues = Values<typeof DEAD_FLAGS>;

const DEAD_HELP: HelpPage = {
  usage: [
    "worker dead ls [OPTION]...",
    "worker dead show [ID]... [OPTION]...",
    "worker dead replay [ID]... [OPTION]...",
    "worker dead purge [ID]... [OPTION]...",
  ],
  about:
    `Lists the tasks in NAME.dead, shows them with their bodies, puts them back on the queue they
came from with their attempts at 0, or removes them for good. All do so with the tasks that --match
selects, which looks at id, error and body; all but ls with those of exactly the ids given, which is
'' for tasks that have none.`,
  flags: DEAD_FLAGS,
  sections: [QUEUE_NAMES_HELP, URL_HELP, EXIT_HELP],
};

const QUEUES_FLAGS = {
  ...CONNECTION_FLAGS,
  queue: WORKER_FLAGS.queue,
  backoff: WORKER_FLAGS.backoff,
  watch: toggle({ help: "show it again every two seconds" }),
  help: toggle({ help: "print this page", alone: true }),
};

const QUEUES_HELP: HelpPage = {
  usage: ["worker queues [OPTION]..."],
  about: `Shows how many tasks are ready, and how many consumers there are, on each work queue, its
delay queues and its dead queue. AMQP does not tell how many are unacknowledged.`,
  flags: QUEUES_FLAGS,
  sections: [QUEUE_NAMES_HELP, URL_HELP, EXIT_HELP],
};

/** Runs `worker dead ...`. */
export async function runDead(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(DEAD_FLAGS, args, host.env);
  if (values.help) return said(host, renderHelp(DEAD_HELP));
  const [action, ...ids] = words;
  if (!["ls", "show", "replay", "purge"].includes(action ?? "")) {
    throw new UsageError(
      `worker dead needs ls, show, replay or purge, and was given ${JSON.stringify(action ?? "")}`,
    );
  }
  if (action === "ls" && ids.length > 0) {
    throw new UsageError(`worker dead ls takes no words, and was given ${ids.length}`);
  }
  const unreadable = ids.find(isGarbled);
  if (unreadable !== undefined) throw new UsageError(`${garbled("an id")}: use --match`);
  return await connected(values, host, async (transport) => {
    const letters = new DeadQueue(transport, values.queue);
    const missing = new Set(ids);
    const selection = {
      max: values.max,
      ...(values.match === undefined ? {} : { match: values.match }),
      ...(ids.length === 0 ? {} : { ids: new Set(ids) }),
    };
    const seen = ({ id }: Task) => missing.delete(id);
    switch (action) {
      case "show":
        await show(host, letters, selection, seen);
        break;
      case "ls":
        await letters.list(selection, (task) => host.print(`${summary(task)}\n`));
        break;
      case "replay":
        await replay(host, letters, selection, values, seen);
        break;
      default:
        await purge(host, letters, selection, values, seen);
    }
    if (letters.left > 0) {
      host.log.warn(`${letters.left} more dead tasks were not looked at: --max is ${values.max}`);
    }
    requireNone(missing, action!, values);
    return EXIT.ok;
  });
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
  letters: DeadQueue,
  selection: Selection,
  seen: (task: Task) => void,
): Promise<void> {
  let shown = 0;
  await letters.list(selection, async (task) => {
    seen(task);
    if (shown++ > 0) await host.print("----\n");
    await showTask(host, task);
  });
}

async function replay(
  host: Host,
  letters: DeadQueue,
  selection: Selection,
  values: DeadValues,
  seen: (task: Task) => void,
): Promise<void> {
  const verb = values["dry-run"] ? "would replay" : "replayed";
  const count = await letters.replay({
    ...selection,
    dryRun: values["dry-run"],
    maxReplays: values["max-replays"],
    queueType: values["delay-queue-type"],
    onTask: (task, fate) => {
      seen(task);
      return host.print(
        fate === "kept"
          ? `kept, replayed ${values["max-replays"]} times already: ${summary(task)}\n`
          : `${verb} ${summary(task)}\n`,
      );
    },
  });
  host.print(`${verb} ${count}\n`);
}

async function purge(
  host: Host,
  letters: DeadQueue,
  selection: Selection,
  values: DeadValues,
  seen: (task: Task) => void,
): Promise<void> {
  const verb = values["dry-run"] ? "would remove" : "removed";
  const count = await letters.purge(
    selection,
    (task) => {
      seen(task);
      return host.print(`${verb} ${summary(task)}\n`);
    },
    values["dry-run"],
  );
  host.print(`${verb} ${count}\n`);
}

/** Runs `worker queues`. */
export async function runQueues(host: Host, args: readonly string[]): Promise<number> {
  const { values, words } = await parseCommandLine(QUEUES_FLAGS, args, host.env);
  if (values.help) return said(host, renderHelp(QUEUES_HELP));
  if (words.length > 0) {
    throw new UsageError(
      `worker queues takes options only, and was given ${JSON.stringify(words[0])}`,
    );
  }
  const names = values.queue.flatMap(({ name }) => [
    name,
    ...delayTiers(values.backoff).map((ms) => delayQueue(name, ms).name),
    deadQueue(name).name,
  ]);
  const board = new Board(connectorOf(values, host), names, host);
  try {
    if (!values.watch) {
      host.print(await board.table());
      return board.status;
    }
    const ending = new AbortController();
    const signals = onSignals({ end: () => ending.abort() });
    while (!ending.signal.aborted && !host.unheard) {
      const page = await board.table();
      await host.print(Deno.stdout.isTerminal() ? `\x1b[H\x1b[2J${page}` : `${page}\n`);
      await sleep(2_000, ending.signal);
    }
    signals.dispose();
    return EXIT.ok;
  } finally {
    await board.close();
  }
}

/** Shows queues, also when the broker cannot say anything of some of them. */
class Board {
  readonly #connector: Connector;
  readonly #names: readonly string[];
  readonly #host: Host;
  #transport: Transport | undefined;
  /** Of the first queue that could not be looked at. */
  status: number = EXIT.ok;

  constructor(connector: Connector, names: readonly string[], host: Host) {
    this.#connector = connector;
    this.#names = names;
    this.#host = host;
  }

  /** Queues that do not exist are left out, except the work queues, which are named first. */
  async table(): Promise<string> {
    const rows: string[][] = [["queue", "ready", "consumers"]];
    for (const name of this.#names) {
      const numbers = await this.#look(name);
      if (numbers !== undefined) rows.push([escapeControls(name), ...numbers]);
    }
    return aligned(rows);
  }

  async close(): Promise<void> {
    await this.#transport?.shutdown();
  }

  /** @returns undefined for a queue that is not worth a line */
  async #look(name: string): Promise<string[] | undefined> {
    // RabbitMQ 4 ends the connection when the queue's node is down.
    if (this.#transport === undefined || this.#transport.isEnded) {
      this.#transport = await this.#connector.connect();
    }
    try {
      const { messageCount, consumerCount } = await inspectQueue(this.#transport, name);
      return [String(messageCount), String(consumerCount)];
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      if (isMissing(error)) {
        return /\.(dead|delay\.\d+)$/.test(name) ? undefined : ["missing", "-"];
      }
      this.#host.log.warn(error.message);
      this.status ||= error.exitCode;
      return ["unavailable", "-"];
    }
  }
}

function aligned(rows: readonly string[][]): string {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map(([name, ...numbers]) =>
    [name!.padEnd(widths[0]!), ...numbers.map((text, i) => text.padStart(widths[i + 1]!))]
      .join("  ") + "\n"
  ).join("");
}

function connectorOf(values: Values<typeof CONNECTION_FLAGS>, host: Host): Connector {
  return new Connector({
    endpoints: readEndpoints(values, host),
    identity: { name: `worker ${Deno.pid}`, version: VERSION },
    log: host.log,
  });
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

function summary({ id, body, properties }: Task): string {
  const headers = properties.headers ?? {};
  const facts = [HEADER.deadReason, HEADER.error, HEADER.attempt, HEADER.diedAt, HEADER.replays]
    .filter((name) => headers[name] !== undefined)
    .map((name) => `${name.replace("task-", "")}=${JSON.stringify(String(headers[name]))}`);
  return escapeControls([id || "(no id)", ...facts, `bytes=${body.length}`].join(" "));
}

function showTask(host: Host, task: Task): Promise<void> | undefined {
  const { headers = {}, ...properties } = task.properties;
  for (const [name, value] of [...Object.entries(properties), ...Object.entries(headers)]) {
    const text = typeof value === "string" ? value : Deno.inspect(value);
    host.print(`${escapeControls(name)}: ${text.split("\n").map(escapeControls).join("\n    ")}\n`);
  }
  return host.print(
    `\n${new TextDecoder().decode(task.body).split("\n").map(escapeControls).join("\n")}\n`,
  );
}

function said(host: Host, text: string): number {
  host.print(text);
  return EXIT.ok;
}
