/** Brokers for the demo and the bench, from whatever this machine has. */
import { permissionsOf } from "./compile.ts";
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

/**
 * Starts our broker on a free port of the loopback interface.
 *
 * @param args where it keeps its data: ["--transient"] or ["--data", folder]
 * @throws Error with what it said when it ends or stays silent instead of becoming ready
 */
export async function startOwnBroker(args: readonly string[]): Promise<RunningBroker> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", ...permissionsOf("broker"), "src/broker.ts", "--port", "0", ...args],
    cwd: root,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), READY_MS);
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  let url: string | undefined;
  while (url === undefined) {
    const { value, done } = await log.read();
    if (done) throw new Error(`our broker did not become ready: ${said.trim() || "no output"}`);
    said += value;
    url = said.match(/amqp:\/\/\S+(?=\s)/)?.[0];
  }
  clearTimeout(timer);
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

/** Reads to the end, so that the writer never waits. */
async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await reader.read()).done);
}
