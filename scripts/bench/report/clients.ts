/** Clients against each other: one task a process, bulk, a command for each task. */
import { preparePeers } from "../../../tests/interop/peers.ts";
import { pikaMissing, PYTHON } from "../../../tests/support/foreign.ts";
import { installed } from "../../../tests/support/process.ts";
import { makeProgram } from "../../program.ts";
import { commandOf } from "../../tasks.ts";
import { freshQueue } from "../queues.ts";
import { type Cell, type Lab, output } from "./lab.ts";
import { peerRate } from "./stores.ts";
import type { Row, Table } from "./table.ts";

const root = new URL("../../../", import.meta.url).pathname;
const DENO = [Deno.execPath(), "run", "--quiet"];

/** The bulk load of all clients and brokers. */
export const LOAD = { window: 1_000, size: 100 };

export interface Tools {
  /** Compiled binaries by name, or why there are none. */
  readonly binaries: ReadonlyMap<string, string> | string;
  readonly goPeer: string | undefined;
  /** amqplib in a folder for Node, or why it is not there. */
  readonly amqplib: { readonly folder: string } | string;
}

type Command = readonly string[];

/** Wall milliseconds of a process that sends one task. */
export async function oneShotTable(lab: Lab, url: string, tools: Tools): Promise<Table> {
  await freshQueue(url, "task_queue", "quorum");
  const env = { AMQP_URL: url };
  const peers = new Map((await preparePeers(lab.folder).catch(() => [])).map((p) => [p.name, p]));
  const peer = (name: string) => {
    const found = peers.get(name);
    if (found === undefined || found.missing) return found?.missing ?? "does not build";
    const { command, args, env } = found.newTask(url, "quorum", "hello");
    return { command: [command, ...args], env };
  };
  const amqplib = typeof tools.amqplib === "string" ? tools.amqplib : {
    command: ["node", `${tools.amqplib.folder}/amqplib_peer.mjs`]
      .concat(["publish", url, "task_queue", "1", "1", "5"]),
    env: {},
  };
  return {
    id: "one_shot",
    title: "One task, one process",
    text: "From the start of a program to its end; it sends one task to a quorum queue of our " +
      "broker. `new_task` waits for the confirm; of the others `amqp-publish` does not, nor do the " +
      `tutorial's programs on pika and amqp091-go. ${lab.sizes.oneShots} rounds.`,
    unit: "milliseconds",
    columns: [{ title: "ms", better: "less" }],
    rows: await timedRows(lab, "one-shot", lab.sizes.oneShots, [
      ["new_task, compiled", compiled(tools, "new_task", [], env)],
      ["new_task, as deno task runs it", {
        command: commandOf("new_task", root + await makeProgram("new_task")),
        env,
      }],
      ["new_task from source", { command: commandOf("new_task", `${root}src/new_task.ts`), env }],
      ["amqp-publish", peer("amqp-tools")],
      ["amqp091-go", peer("amqp091-go")],
      ["pika", peer("pika")],
      ["amqplib on Node", amqplib],
    ]),
    chart: { kind: "bars", column: 0 },
    why: {
      "amqp-publish":
        "It is a C program of some kilobytes that does not wait for a confirm; ours " +
        "starts a JavaScript engine first.",
      "amqp091-go": "It is compiled to machine code and has no engine to start.",
    },
  };
}

interface Run {
  readonly command: Command;
  readonly env: Readonly<Record<string, string>>;
}

function compiled(
  { binaries }: Tools,
  name: string,
  args: Command,
  env: Readonly<Record<string, string>>,
): Run | string {
  if (typeof binaries === "string") return binaries;
  return { command: [binaries.get(name)!, ...args], env };
}

async function timedRows(
  lab: Lab,
  what: string,
  rounds: number,
  programs: readonly (readonly [name: string, run: Run | string])[],
): Promise<Table["rows"]> {
  const cells = await lab.inTurn(
    what,
    rounds,
    programs.map(([name, run]) => ({
      name,
      run: async (signal) => {
        if (typeof run === "string") throw new Error(run);
        const began = performance.now();
        await output(run.command, signal, run.env);
        return performance.now() - began;
      },
    })),
  );
  return programs.map(([name], i) => row(name, cells[i]!));
}

function row(name: string, cell: Cell): Row {
  return { name, cells: [cell], isOurs: /^(new_task|worker)\b/.test(name) };
}

/** Tasks a second of clients that do nothing else, on one broker. */
export async function bulkTable(
  lab: Lab,
  broker: { readonly id: string; readonly name: string; readonly url: string },
  { goPeer, amqplib }: Tools,
): Promise<Table> {
  const clients: (readonly [name: string, peer: Command | string])[] = [
    ["ours", [...DENO, "--allow-all", `${root}scripts/bench/peer.ts`]],
    ["amqp091-go", goPeer === undefined ? "not installed" : [goPeer]],
    ["pika", await pikaMissing() ?? [PYTHON, `${root}scripts/bench/peers/pika_peer.py`]],
    [
      "amqplib on Node",
      typeof amqplib === "string" ? amqplib : ["node", `${amqplib.folder}/amqplib_peer.mjs`],
    ],
  ];
  const load = { queue: "bulk", count: lab.sizes.bulk, ...LOAD };
  const modes = ["publish", "consume"] as const;
  const cells: Cell[][] = [];
  const contestants = (mode: typeof modes[number]) =>
    clients.map(([name, peer]) => ({
      name,
      run: async (signal: AbortSignal) => {
        if (typeof peer === "string") throw new Error(peer);
        await freshQueue(broker.url, "bulk", "quorum");
        const filler = goPeer === undefined ? clients[0]![1] as Command : [goPeer];
        if (mode === "consume") await peerRate(filler, "publish", broker.url, load, signal);
        return await peerRate(peer, mode, broker.url, load, signal);
      },
    }));
  for (const mode of modes) {
    cells.push(
      await lab.inTurn(`${mode} on ${broker.name}`, lab.sizes.rounds, contestants(mode)),
    );
  }
  const window = LOAD.window.toLocaleString("en-US");
  return {
    id: `bulk_${broker.id}`,
    title: `Clients in bulk, on ${broker.name}`,
    text: `${lab.sizes.bulk.toLocaleString("en-US")} persistent tasks of ${LOAD.size} bytes on a ` +
      `quorum queue, each confirmed, ${window} on their way; then as many consumed and each ` +
      `acknowledged by itself, prefetch ${window}. ${lab.sizes.rounds} rounds.`,
    unit: "tasks a second",
    columns: [
      { title: "publish+confirm /s", better: "more" },
      { title: "consume+ack /s", better: "more" },
    ],
    rows: clients.map(([name], i) => ({ name, cells: cells.map((column) => column[i]!) })),
    chart: { kind: "bars", column: 0 },
    why: {
      "amqp091-go": "It is compiled to machine code, and reads in a thread of its own.",
    },
  };
}

/** Milliseconds a task when each runs a command. */
export async function commandTable(lab: Lab, url: string, tools: Tools): Promise<Table> {
  const count = lab.sizes.commands;
  const queue = "commands";
  const oursPeer = [...DENO, "--allow-all", `${root}scripts/bench/peer.ts`];
  const env = { AMQP_URL: url, WORK_QUEUE: queue };
  const options = ["--max-tasks", `${count}`, "--", "cat"];
  const worker = commandOf("worker", root + await makeProgram("worker"));
  const bare = url.replace(/\/$/, "");
  const consumer = ["amqp-consume", "--url", bare, "--queue", queue, "--count", `${count}`];
  const programs: (readonly [string, Run | string])[] = [
    ["worker -- cat, compiled", compiled(tools, "worker", options, env)],
    ["worker -- cat, as deno task runs it", { command: [...worker, ...options], env }],
    [
      "amqp-consume -- cat",
      installed("amqp-consume")
        ? { command: [...consumer, "--prefetch-count", "1", "--", "cat"], env: {} }
        : "not installed",
    ],
    ["xargs -n1 echo", {
      command: ["sh", "-c", `seq ${count} | xargs -n1 echo`],
      env: {},
    }],
  ];
  const cells = await lab.inTurn(
    "command per task",
    lab.sizes.rounds,
    programs.map(([name, run]) => ({
      name,
      run: async (signal) => {
        if (typeof run === "string") throw new Error(run);
        await freshQueue(url, queue, "quorum");
        await peerRate(oursPeer, "publish", url, { queue, count, ...LOAD }, signal);
        const began = performance.now();
        await output(run.command, signal, run.env);
        return (performance.now() - began) / count;
      },
    })),
  );
  return {
    id: "command",
    title: "A command for each task",
    text:
      `${
        count.toLocaleString("en-US")
      } tasks, each of which runs \`cat\`, one at a time, on our broker; the start of ` +
      `the worker is in it. \`xargs\` shows what the processes alone take. ${lab.sizes.rounds} rounds.`,
    unit: "milliseconds for each task",
    columns: [{ title: "ms a task", better: "less" }],
    rows: programs.map(([name], i) => row(name, cells[i]!)),
    chart: { kind: "bars", column: 0 },
    why: {
      "amqp-consume": "It is a small C program, which is quicker to fork than a process with an " +
        "engine, and it watches neither time limits nor output.",
      xargs: "It takes its words from a pipe; there is no broker and no acknowledgement.",
    },
  };
}
