/**
 * Other makers' programs for the tutorial's queue `task_queue`: RabbitMQ's second tutorial on pika
 * and on amqp091-go, and the command-line tools of rabbitmq-c.
 */
import { buildGo, goMissing, pikaMissing, PYTHON } from "../support/foreign.ts";
import { installed } from "../support/process.ts";

export type QueueType = "quorum" | "classic";

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Peer {
  readonly name: string;
  /** Why it cannot run here. */
  readonly missing: string | undefined;
  /** Declares `task_queue` as this type by itself. */
  readonly declares: boolean;
  /** Sends one task, and ends. */
  newTask(url: string, type: QueueType, text: string): Command;
  /** Takes tasks one by one until it is killed; prints the tutorial's lines. */
  worker(url: string, type: QueueType): Command;
}

const here = new URL(".", import.meta.url).pathname;

const pika: Peer = {
  name: "pika",
  missing: await pikaMissing(),
  declares: true,
  newTask: (url, type, text) => python("new_task.py", url, type, [text]),
  worker: (url, type) => python("worker.py", url, type, []),
};

const amqpTools: Peer = {
  name: "amqp-tools",
  missing: installed("amqp-publish") ? undefined : "amqp-tools is not installed",
  declares: false,
  newTask: (url, _type, text) => ({
    command: "amqp-publish",
    args: ["--url", bare(url), "--routing-key", "task_queue", "--persistent", "--body", text],
    env: {},
  }),
  worker: (url) => ({
    command: "amqp-consume",
    args: [
      "--url",
      bare(url),
      "--queue",
      "task_queue",
      "--prefetch-count",
      "1",
      "--",
      "sh",
      "-c",
      DOTS,
    ],
    env: {},
  }),
};

/** A trailing slash means the vhost "" to rabbitmq-c, and the default vhost to everybody else. */
function bare(url: string): string {
  return url.replace(/\/$/, "");
}

/** The tutorial's work as a shell program; the body comes on stdin. */
const DOTS = `body=$(cat)
echo " [x] Received $body"
dots=$(printf %s "$body" | tr -cd .)
sleep "\${#dots}"
echo " [x] Done"`;

/**
 * The peers; the Go programs are built into `folder`.
 *
 * @throws Error when Go is installed and the programs do not build
 */
export async function preparePeers(folder: string): Promise<readonly Peer[]> {
  return [pika, await buildGoPeer(folder), amqpTools];
}

async function buildGoPeer(folder: string): Promise<Peer> {
  for (const program of goMissing === undefined ? ["new_task", "worker"] : []) {
    await buildGo(`${folder}/${program}`, "build", `${here}go/${program}/main.go`);
  }
  return {
    name: "amqp091-go",
    missing: goMissing,
    declares: true,
    newTask: (url, type, text) => tutorial(`${folder}/new_task`, url, type, [text]),
    worker: (url, type) => tutorial(`${folder}/worker`, url, type, []),
  };
}

function python(script: string, url: string, type: QueueType, args: string[]): Command {
  return tutorial(PYTHON, url, type, [`${here}pika/${script}`, ...args]);
}

function tutorial(command: string, url: string, type: QueueType, args: string[]): Command {
  return { command, args, env: { AMQP_URL: url, QUEUE_TYPE: type } };
}
