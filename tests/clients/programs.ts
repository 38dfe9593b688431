/** Programs on other makers' clients, all of which play the scenario of clients_test.ts. */
import { installed, run } from "../support/process.ts";

export interface ClientProgram {
  readonly name: string;
  /** Why it cannot run here. */
  readonly missing: string | undefined;
  readonly command: string;
  /** To be followed by URL and prefix. */
  readonly args: readonly string[];
}

const FOLDER = new URL("programs/", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** Debian's python3, the one that python3-pika belongs to. */
const PYTHON = "/usr/bin/python3";

/** Where Debian's Go library packages put their source. */
export const GO_PATH = "/usr/share/gocode";
export const AMQP091 = "github.com/rabbitmq/amqp091-go";

/** Go without modules: nothing is looked for outside of Debian's packages. */
export const GO_ENV = { GO111MODULE: "off", GOPATH: GO_PATH, GOFLAGS: "" };

/** Why Go programs on amqp091-go cannot be built, or undefined. */
export const goMissing: string | undefined = !installed("go")
  ? "Go is not installed"
  : !installed(`${GO_PATH}/src/${AMQP091}/client_test.go`)
  ? "golang-github-rabbitmq-amqp091-go-dev is not installed"
  : undefined;

/**
 * The programs; those that need it are built in `folder`.
 *
 * @throws Error when Go is installed and its program does not build
 */
export async function clientPrograms(folder: string): Promise<readonly ClientProgram[]> {
  const amqpTools = installed("amqp-publish") ? undefined : "amqp-tools is not installed";
  return [
    {
      name: "amqp-tools",
      missing: amqpTools,
      command: "sh",
      args: [`${FOLDER}amqp_tools_client.sh`],
    },
    {
      name: "pika",
      missing: await pikaMissing(),
      command: PYTHON,
      args: [`${FOLDER}pika_client.py`],
    },
    {
      name: "amqp091-go",
      missing: goMissing,
      command: goMissing ? "" : await buildGo(folder),
      args: [],
    },
    script("amqplib", "amqplib_client.js"),
    script("rabbitmq-client", "rabbitmq_client.js"),
    script("@cloudamqp/amqp-client", "cloudamqp_client.js"),
  ];
}

function script(name: string, file: string): ClientProgram {
  return {
    name,
    missing: undefined,
    command: Deno.execPath(),
    args: ["run", "--quiet", "--no-prompt", "-A", "--config", CONFIG, `${FOLDER}${file}`],
  };
}

async function buildGo(folder: string): Promise<string> {
  const binary = `${folder}/amqp091_client`;
  const args = ["build", "-o", binary, `${FOLDER}amqp091_client.go`];
  const { code, stderr } = await run("go", { args, env: GO_ENV });
  if (code !== 0) throw new Error(`Cannot build the Go client: ${stderr}`);
  return binary;
}

async function pikaMissing(): Promise<string | undefined> {
  if (!installed(PYTHON)) return "python3 is not installed";
  const { code } = await run(PYTHON, { args: ["-c", "import pika"] });
  return code === 0 ? undefined : "python3-pika is not installed";
}
