/** Brokers for the demo and the bench, from whatever this machine has. */
import { commandOf } from "./tasks.ts";
import { rabbitmqMissing, startRabbitmq } from "../tests/support/rabbitmq.ts";

const root = new URL("../", import.meta.url);

/** How long our broker may take to say that it is ready, in milliseconds. */
const READY_MS = 10_000;

/** A running broker; disposing ends it when it was started here. */
export interface RunningBroker extends AsyncDisposable {
  /** For people: "our own broker". */
  readonly name: string;
  readonly url: string;
  /** Process id, where it was started here as one process. */
  readonly pid?: number;
}

/** Why our own broker cannot be started, or undefined. */
export async function ownBrokerMissing(): Promise<string | undefined> {
  try {
    await Deno.stat(new URL("src/broker.ts", root));
    return undefined;
  } catch {
    return "src/broker.ts is not there";
  }
}

/** The command line of our broker from source. */
export function ownBrokerCommand(): string[] {
  return commandOf("broker", "src/broker.ts");
}

/**
 * Starts our broker on a free port of the loopback interface.
 *
 * @param storage where it keeps its data: ["--transient"] or ["--data", folder]
 * @param folder of the checkout that the command is for
 * @throws Error with what it said when it ends or stays silent instead of becoming ready
 */
export async function startOwnBroker(
  storage: readonly string[],
  command: readonly string[] = ownBrokerCommand(),
  folder: string | URL = root,
): Promise<RunningBroker> {
  const [program, ...args] = [...command, "--port", "0", ...storage] as [string, ...string[]];
  const child = new Deno.Command(program, {
    args,
    cwd: folder,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => child.kill("SIGKILL"), READY_MS);
  const url = await readUrl(log).finally(() => clearTimeout(timer));
  const drained = drain(log);
  return {
    name: "our own broker",
    url,
    pid: child.pid,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await Promise.all([child.status, drained]);
    },
  };
}

/** Starts a private RabbitMQ node, which takes some seconds. */
export async function startRabbitmqBroker(): Promise<RunningBroker> {
  if (rabbitmqMissing) throw new Error(rabbitmqMissing);
  const node = await startRabbitmq();
  return {
    name: "a private RabbitMQ node",
    url: node.url,
    [Symbol.asyncDispose]: () => node[Symbol.asyncDispose](),
  };
}

/** The URL in what our broker says when it is ready. */
async function readUrl(log: ReadableStreamDefaultReader<string>): Promise<string> {
  for (let said = "";;) {
    const { value, done } = await log.read();
    if (done) throw new Error(`our broker did not become ready: ${said.trim() || "no output"}`);
    said += value;
    const url = said.match(/amqp:\/\/\S+(?=\s)/)?.[0];
    if (url !== undefined) return url;
  }
}

/** Reads to the end, so that the writer never waits. */
async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await reader.read()).done);
}
