/** This project's broker as a process of its own, for tests that run against any broker. */
import { LeashedProcess } from "./leash.ts";
import { freePorts } from "./ports.ts";
import { removeDir } from "./temp.ts";
import { toolCommand } from "./tools.ts";
import { waitUntil, within } from "./wait.ts";

export interface BrokerOptions {
  /** Further flags. */
  args?: readonly string[];
  /** Added to its environment. */
  env?: Readonly<Record<string, string>>;
  /** Data to start on: given the folder, which is there and empty. */
  prepare?: (data: string) => Promise<void>;
}

/** A running broker with its own data; `await using` it, or let it end with the test file. */
export class EmbeddedBroker implements AsyncDisposable {
  readonly #dir: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #process: LeashedProcess | undefined;
  /** Where nobody else listens while it is started again. */
  readonly #port = freePorts(1)[0]!;

  /** Use `startBroker`. */
  constructor(dir: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#env = env;
    this.#dir = dir;
    this.#args = args;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.#port}/`;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** Folder of its data. */
  get data(): string {
    return `${this.#dir}/data`;
  }

  async log(): Promise<string> {
    return await Deno.readTextFile(`${this.#dir}/broker.log`).catch(() => "");
  }

  /** Starts it on its data and its port. */
  async start(): Promise<void> {
    const logged = (await this.log()).length;
    const args = ["--port", `${this.#port}`, "--data", this.data, ...this.#args];
    const broker = new LeashedProcess(
      "broker",
      toolCommand("broker", args),
      {
        env: { ...Deno.env.toObject(), NO_COLOR: "1", ...this.#env },
        log: `${this.#dir}/broker.log`,
      },
    );
    this.#process = broker;
    await waitUntil("the broker to be ready", async () => {
      return / ready: amqps?:/.test((await this.log()).slice(logged)) || !broker.running;
    });
    if (broker.running) return;
    throw new Error(`The broker did not start:\n${(await this.log()).slice(logged)}`);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** An orderly end (SIGTERM). */
  async stop(): Promise<void> {
    const broker = this.#process;
    if (!broker?.running) return;
    await broker.signal("TERM");
    await within("the broker to stop", broker.ended);
    await broker.kill();
  }

  /** Starts it again with the same data and port; stops it first when it runs. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await removeDir(this.#dir);
  }

  /** For the end of a test file, which cannot wait: the process is ended by its leash. */
  abandon(): void {
    Deno.removeSync(this.#dir, { recursive: true });
  }
}

/** Starts a broker on a free port with fresh data. */
export async function startBroker(options: BrokerOptions = {}): Promise<EmbeddedBroker> {
  const parent = Deno.env.get("TEST_RUN_DIR");
  const dir = await Deno.makeTempDir({ prefix: "broker-", ...(parent ? { dir: parent } : {}) });
  const broker = new EmbeddedBroker(dir, options.args ?? [], options.env);
  try {
    if (options.prepare !== undefined) {
      await Deno.mkdir(broker.data);
      await options.prepare(broker.data);
    }
    await broker.start();
    return broker;
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
}

let shared: EmbeddedBroker | undefined;

/** The broker of this test file. Await it at the top level of the file. */
export async function sharedBroker(): Promise<EmbeddedBroker> {
  if (!shared) {
    shared = await startBroker();
    globalThis.addEventListener("unload", () => shared!.abandon());
  }
  return shared;
}
