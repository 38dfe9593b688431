/** The broker as its users run it, with exactly the permissions of its task, and parts of it. */
import { Broker, type BrokerOptions } from "../../src/broker/server.ts";
import type { Logger } from "../../src/observe/log.ts";
import {
  installed,
  type ProcessOptions,
  run,
  spawn,
  type TestProcess,
} from "../support/process.ts";
import { toolCommand } from "../support/tools.ts";

/** The command line that runs the broker. */
export function brokerCommand(args: readonly string[]): [string, ...string[]] {
  return toolCommand("broker", args);
}

/** Starts the broker on a free port, in memory unless `args` say otherwise; `await using` it. */
export function startProcess(args: readonly string[], options: ProcessOptions = {}): TestProcess {
  const port = args.includes("--port") ? [] : ["--port", "0"];
  const data = args.includes("--data") ? [] : ["--transient"];
  const [command, ...rest] = brokerCommand([...port, ...data, ...args]);
  return spawn(command, { killOnDispose: true, ...options, args: rest });
}

/** The port of the first URL that a broker prints. */
export async function portOf(broker: TestProcess): Promise<number> {
  const [, port] = await broker.waitForLog(/ready: amqps?:\/\/\S+:(\d+)/);
  return Number(port);
}

/** Why no network namespaces can be made here, or undefined; that takes root. */
export async function findNamespacesMissing(): Promise<string | undefined> {
  const canTry = Deno.uid() === 0 && installed("ip") && installed("unshare");
  if (canTry && (await run("unshare", { args: ["-n", "true"] })).code === 0) return undefined;
  return "no network namespace can be made";
}

/** Log lines of a broker in this process. */
export class Log implements Logger {
  readonly lines: string[] = [];
  debug = (): void => {};
  info = this.#add.bind(this);
  warn = this.#add.bind(this);
  error = this.#add.bind(this);

  #add(message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push(`${message} ${JSON.stringify(fields)}`);
  }
}

/** A broker in this process, for limits that the command line does not set; `await using` it. */
export async function startHere(
  options: Partial<BrokerOptions> = {},
): Promise<AsyncDisposable & Pick<Broker, "port" | "inside"> & { log: Log }> {
  const log = new Log();
  const broker = await Broker.start({
    hosts: ["127.0.0.1"],
    port: 0,
    version: "0.0.0",
    log,
    ...options,
  });
  return {
    port: broker.port,
    inside: broker.inside,
    log,
    async [Symbol.asyncDispose]() {
      await broker.stop();
      const faults = log.lines.filter((line) => line.startsWith("a fault in the broker"));
      if (faults.length > 0) throw new Error(faults.join("\n"));
    },
  };
}
