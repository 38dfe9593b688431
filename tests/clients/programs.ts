/** Programs on other makers' clients, all of which play the scenario of clients_test.ts. */
import { buildGo, goMissing, pikaMissing, PYTHON } from "../support/foreign.ts";
import { installed } from "../support/process.ts";

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
      command: goMissing ? "" : await buildClient(folder),
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

function buildClient(folder: string): Promise<string> {
  return buildGo(`${folder}/amqp091_client`, "build", `${FOLDER}amqp091_client.go`);
}
