/**
 * Private RabbitMQ nodes for tests: own name, ports, cookie, data, logs and epmd, all in one
 * temporary folder; never the system's node. A node dies with the test process, however that ends.
 *
 * `startRabbitmq()` gives a node of one's own (it takes seconds: share where you can).
 * `sharedRabbitmq()` gives the node of the whole test run; tests on it use `uniqueName()`.
 */
import { SystemRoot } from "./chroot.ts";
import { LeashedProcess } from "./leash.ts";
import { freePorts, waitForPort } from "./ports.ts";
import { removeDir } from "./temp.ts";
import { unless } from "./unless.ts";
import { waitUntil, within } from "./wait.ts";

const SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl";
/** Of erlang-base: it does in some milliseconds what takes rabbitmqctl a second of CPU. */
const ERL_CALL = "/usr/bin/erl_call";

/** Milliseconds that a node may take to start or to stop on a slow, shared machine. */
const NODE_MS = 90_000;

/** One scheduler that never spins: a node of a test has little to do and many neighbours. */
const ERL_ARGS = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none";

const root = SystemRoot.fromEnv();

/** Why there is no RabbitMQ here, or undefined. For `ignore` and the test's name. */
export const rabbitmqMissing: string | undefined = root.has(SERVER)
  ? undefined
  : `rabbitmq-server is not installed${root.path === "" ? "" : ` in ${root.path}`}`;

/** A test that needs RabbitMQ; ignored, with the reason in its name, where there is none. */
export function rabbitmqTest(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ ...unless(rabbitmqMissing, name), fn });
}

export interface RabbitmqOptions {
  /** Lines of rabbitmq.conf, such as `{ consumer_timeout: 60000, heartbeat: 2 }`. */
  config?: Readonly<Record<string, string | number | boolean>>;
  /** Contents of advanced.config: one Erlang term with its final period. */
  advanced?: string;
  /** Adds a TLS listener (`tlsUrl`). Paths of PEM files on this machine; they are copied. */
  tls?: { cert: string; key: string; ca: string; verifyPeer?: boolean };
  plugins?: readonly string[];
  /** Added to the environment of the Erlang VM. */
  env?: Readonly<Record<string, string>>;
  /** Arguments for the Erlang VM; default: one scheduler that never spins. */
  erlArgs?: string;
}

/** What nodes that know each other have in common: an epmd, a cookie, a folder. */
class ErlangNet {
  readonly epmdPort = freePorts(1)[0]!;
  #epmd: LeashedProcess | undefined;

  private constructor(readonly dir: string) {}

  static async create(): Promise<ErlangNet> {
    const parent = root.tempParent ?? Deno.env.get("TEST_RUN_DIR");
    const dir = await Deno.makeTempDir({ prefix: "rabbitmq-", ...(parent ? { dir: parent } : {}) });
    const net = new ErlangNet(dir);
    await Deno.mkdir(`${dir}/home`);
    await Deno.writeTextFile(`${dir}/home/.erlang.cookie`, crypto.randomUUID(), { mode: 0o400 });
    net.#epmd = new LeashedProcess(
      "epmd",
      root.command(["epmd", "-port", `${net.epmdPort}`, "-address", "127.0.0.1"]),
      { env: net.env(), log: `${dir}/epmd.log` },
    );
    await waitForPort("epmd", net.epmdPort);
    return net;
  }

  env(): Record<string, string> {
    return {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LANG: "C.UTF-8",
      HOME: root.inside(`${this.dir}/home`),
      ERL_EPMD_PORT: `${this.epmdPort}`,
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_CONF_ENV_FILE: "/dev/null",
    };
  }

  async end(): Promise<void> {
    await this.#epmd?.kill();
    await removeDir(this.dir);
  }
}

/** What another process of the test run must know to use a node it did not start. */
export interface NodeAddress {
  readonly nodeName: string;
  readonly port: number;
  readonly tlsPort: number;
  readonly env: Record<string, string>;
}

/** A running node that somebody else owns: everything but its life and death. */
export class RabbitmqClient {
  constructor(protected readonly address: NodeAddress) {}

  get port(): number {
    return this.address.port;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}/`;
  }

  /** Works only on nodes started with `tls`. */
  get tlsUrl(): string {
    return `amqps://guest:guest@localhost:${this.address.tlsPort}/`;
  }

  /** Runs rabbitmqctl (about a second); gives its stdout, throws its stderr. */
  async rabbitmqctl(...args: string[]): Promise<string> {
    return await runTool(CTL, ["-q", "-n", this.address.nodeName, ...args], this.address.env);
  }

  /** Raises the alarm that blocks publishers, or clears it; connections hear of it next. */
  async setMemoryAlarm(raised: boolean): Promise<void> {
    const watermark = raised ? "{absolute, 1}" : "0.9";
    await this.eval(`vm_memory_monitor:set_vm_memory_high_watermark(${watermark}).`);
    await waitUntil("the memory alarm to change", async () => {
      return (await this.eval("rabbit_alarm:get_alarms().")).includes("memory") === raised;
    });
  }

  /** Evaluates an Erlang expression (with its final period) in the node. */
  async eval(expression: string): Promise<string> {
    const { nodeName, env } = this.address;
    const said = await runTool(ERL_CALL, ["-sname", nodeName, "-e"], env, `${expression}\n`);
    const value = /^\{ok, ([^]*)\}$/.exec(said);
    if (value === null) throw new Error(`${expression} failed: ${said}`);
    return value[1]!;
  }
}

/** A node of one test or test file, with its own data. `await using` it. */
export class RabbitmqNode extends RabbitmqClient implements AsyncDisposable {
  readonly #net: ErlangNet;
  readonly #ownsNet: boolean;
  readonly #dir: string;
  #process: LeashedProcess | undefined;

  /** Use `startRabbitmq` or `startCluster`. */
  constructor(net: ErlangNet, ownsNet: boolean, dir: string, address: NodeAddress) {
    super(address);
    this.#net = net;
    this.#ownsNet = ownsNet;
    this.#dir = dir;
  }

  get nodeName(): string {
    return this.address.nodeName;
  }

  /** What `run.ts` hands to the test files. */
  get shareable(): NodeAddress {
    return this.address;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** What the node has logged since its first start. */
  async log(): Promise<string> {
    return await Deno.readTextFile(`${this.#dir}/node.log`).catch(() => "");
  }

  /** Starts the node on its data; resolves when clients can connect. */
  async start(): Promise<void> {
    const logged = (await this.log()).length;
    const node = new LeashedProcess(this.nodeName, root.command([SERVER]), {
      env: this.address.env,
      log: `${this.#dir}/node.log`,
    });
    this.#process = node;
    await waitUntil(`${this.nodeName} to start`, async () => {
      const log = (await this.log()).slice(logged);
      if (log.includes("Server startup complete")) return true;
      return node.running ? undefined : "ended";
    }, NODE_MS);
    if (node.running) return;
    throw new Error(`RabbitMQ did not start:\n${(await this.log()).slice(logged).slice(-4000)}`);
  }

  /**
   * Makes quorum queues that were declared just now survive `kill`. RabbitMQ writes their
   * directory to disk only every half second; a queue younger than that never answers again after
   * a SIGKILL (seen in 3.10), with all that was confirmed in it.
   */
  async saveQuorumQueues(): Promise<void> {
    await this.eval("[dets:sync(T) || T <- dets:all()], ok.");
  }

  /** SIGKILL: what a power cut looks like to clients, and (but for the page cache) to the disk. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** An orderly end (SIGTERM). */
  async stop(): Promise<void> {
    const node = this.#process;
    if (!node?.running) return;
    await node.signal("TERM");
    await within(`${this.nodeName} to stop`, node.ended, NODE_MS);
    await node.kill();
  }

  /** Starts the node again with the same data and port; stops it first when it runs. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** SIGSTOP: the node keeps its connections and answers nothing. */
  async freeze(): Promise<void> {
    await this.#process!.signal("STOP");
  }

  async thaw(): Promise<void> {
    await this.#process!.signal("CONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#ownsNet) await this.#net.end();
  }
}

/** Prepares a node's files; it is not started. */
async function createNode(
  net: ErlangNet,
  ownsNet: boolean,
  name: string,
  options: RabbitmqOptions,
): Promise<RabbitmqNode> {
  const dir = `${net.dir}/${name}`;
  await Deno.mkdir(`${dir}/data`, { recursive: true });
  const [port, tlsPort, distPort] = freePorts(3) as [number, number, number];
  const config: Record<string, string | number | boolean> = {
    "listeners.tcp.1": `127.0.0.1:${port}`,
    "log.console": true,
    "log.file": false,
    // RabbitMQ 4 has an eighth of this as its default.
    max_message_size: 134_217_728,
    ...options.config,
  };
  if (options.tls) {
    for (const file of ["cert", "key", "ca"] as const) {
      await Deno.copyFile(options.tls[file], `${dir}/${file}.pem`);
    }
    const verify = options.tls.verifyPeer ?? false;
    config["listeners.ssl.1"] = `127.0.0.1:${tlsPort}`;
    config["ssl_options.cacertfile"] = root.inside(`${dir}/ca.pem`);
    config["ssl_options.certfile"] = root.inside(`${dir}/cert.pem`);
    config["ssl_options.keyfile"] = root.inside(`${dir}/key.pem`);
    config["ssl_options.verify"] = verify ? "verify_peer" : "verify_none";
    config["ssl_options.fail_if_no_peer_cert"] = verify;
  }
  const lines = Object.entries(config).map(([key, value]) => `${key} = ${value}\n`);
  await Deno.writeTextFile(`${dir}/rabbitmq.conf`, lines.join(""));
  await Deno.writeTextFile(`${dir}/advanced.config`, options.advanced ?? "[].");
  const env = {
    ...net.env(),
    ...options.env,
    RABBITMQ_NODENAME: `${name}@localhost`,
    RABBITMQ_DIST_PORT: `${distPort}`,
    RABBITMQ_MNESIA_BASE: root.inside(`${dir}/data`),
    RABBITMQ_LOG_BASE: root.inside(dir),
    RABBITMQ_CONFIG_FILE: root.inside(`${dir}/rabbitmq.conf`),
    RABBITMQ_ADVANCED_CONFIG_FILE: root.inside(`${dir}/advanced.config`),
    RABBITMQ_ENABLED_PLUGINS_FILE: root.inside(`${dir}/enabled_plugins`),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: options.erlArgs ?? ERL_ARGS,
    // The start script then becomes the Erlang VM instead of staying as its parent.
    RUNNING_UNDER_SYSTEMD: "1",
  };
  await Deno.writeTextFile(`${dir}/enabled_plugins`, `[${options.plugins?.join(",") ?? ""}].\n`);
  return new RabbitmqNode(net, ownsNet, dir, {
    nodeName: env.RABBITMQ_NODENAME,
    port,
    tlsPort,
    env,
  });
}

/** Starts a private node. */
export async function startRabbitmq(options: RabbitmqOptions = {}): Promise<RabbitmqNode> {
  const net = await ErlangNet.create();
  let node: RabbitmqNode | undefined;
  try {
    node = await createNode(net, true, "rabbit", options);
    await node.start();
    return node;
  } catch (error) {
    await node?.kill();
    await net.end();
    throw error;
  }
}

/** Nodes of one cluster, on one machine. */
export class RabbitmqCluster implements AsyncDisposable {
  readonly #net: ErlangNet;

  constructor(net: ErlangNet, readonly nodes: readonly RabbitmqNode[]) {
    this.#net = net;
  }

  /** One URL per node, for clients that fail over. */
  get urls(): readonly string[] {
    return this.nodes.map((node) => node.url);
  }

  /** The node that leads a quorum queue. */
  async leaderOf(queue: string): Promise<RabbitmqNode> {
    const running = this.nodes.find((node) => node.running)!;
    const said = await running.eval(
      `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"${queue}">>)),
      rabbit_amqqueue:info(Q, [leader]).`,
    );
    const node = this.nodes.find(({ nodeName }) => said.includes(nodeName));
    if (!node) throw new Error(`No node of the cluster leads ${queue}: ${said}`);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.#net.end();
  }
}

/** Starts nodes that form a cluster: all at once, because RabbitMQ 4 waits for its peers. */
export async function startCluster(
  size: number,
  options: RabbitmqOptions = {},
): Promise<RabbitmqCluster> {
  const net = await ErlangNet.create();
  const nodes: RabbitmqNode[] = [];
  const cluster = new RabbitmqCluster(net, nodes);
  try {
    const config: Record<string, string | number | boolean> = {
      "cluster_formation.peer_discovery_backend": "classic_config",
      ...options.config,
    };
    for (let i = 1; i <= size; i++) {
      config[`cluster_formation.classic_config.nodes.${i}`] = `rabbit${i}@localhost`;
    }
    for (let i = 1; i <= size; i++) {
      nodes.push(await createNode(net, false, `rabbit${i}`, { ...options, config }));
    }
    await Promise.all(nodes.map((node) => node.start()));
    return cluster;
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

let ownShared: RabbitmqNode | undefined;

/**
 * The node that all test files of a run share. Await it at the top level of a test file, where no
 * sanitizer watches. `run.ts` starts it once and names it in TEST_RABBITMQ; a test file run by
 * itself starts one that ends with the file. Where RabbitMQ is missing it is nobody's address, for
 * tests that are ignored anyway.
 */
export async function sharedRabbitmq(): Promise<RabbitmqClient> {
  const given = Deno.env.get("TEST_RABBITMQ");
  if (given) return new RabbitmqClient(JSON.parse(given) as NodeAddress);
  if (rabbitmqMissing) return new RabbitmqClient({ nodeName: "", port: 0, tlsPort: 0, env: {} });
  if (!ownShared) {
    ownShared = await startRabbitmq();
    const dir = ownShared.shareable.env.HOME!.replace(/\/home$/, "");
    // The event is synchronous; the process itself is ended by its leash.
    globalThis.addEventListener(
      "unload",
      () => Deno.removeSync(root.path + dir, { recursive: true }),
    );
  }
  return ownShared;
}

async function runTool(
  tool: string,
  args: readonly string[],
  env: Record<string, string>,
  stdin = "",
): Promise<string> {
  const [command, ...rest] = root.command([tool, ...args]) as [string, ...string[]];
  const process = new Deno.Command(command, {
    args: rest,
    env,
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // One that ends without reading says why.
  const written = new Blob([stdin]).stream().pipeTo(process.stdin).catch(() => {});
  const name = tool.split("/").at(-1);
  const [output] = await within(
    `${name} ${args.join(" ")}`,
    Promise.all([process.output(), written]),
    NODE_MS,
  ).catch((error) => {
    process.kill("SIGKILL");
    throw error;
  });
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!output.success) {
    throw new Error(
      `${name} ${args.join(" ")} failed (exit ${output.code}): ` +
        decode(output.stderr) + decode(output.stdout),
    );
  }
  return decode(output.stdout);
}
