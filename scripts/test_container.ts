/**
 * The container, built and run without a registry (root, podman, debootstrap, podman-compose,
 * iptables; minutes): the image from the smallest Debian, the tutorial in containers of it, their
 * health checks, what commands leave behind, their end, and both compose files. RabbitMQ is that of
 * Debian 13 under the name of its image, as far as the compose file uses that.
 *
 *   deno task compile --single && deno task test:container [ROOT]
 *
 * ROOT: a Debian 12 that debootstrap has made.
 */
// deno-lint-ignore-file no-console
import { waitUntil } from "../tests/support/wait.ts";
import { prepareDebian } from "./rabbitmq4_root.ts";
import { shell } from "./release/shell.ts";

const NAMES = ["podman", "podman-compose", "debootstrap", "iptables", "ip", "unshare", "tar"];

const project = new URL("../", import.meta.url).pathname;
/** Tells the folder of a run to the part of it that is inside the namespaces. */
const WORK = "TEST_CONTAINER_FOLDER";
const PASSWORD = "a password";

/** What podman asks of a machine without systemd and with little to give. */
const CONFIG = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
`;

class Podman {
  readonly #env: Record<string, string>;
  readonly #folder: string;

  /** @param folder for all that it keeps, and for itself as a program */
  constructor(folder: string) {
    this.#folder = folder;
    this.#env = {
      PATH: `${folder}:${Deno.env.get("PATH")}`,
      CONTAINERS_CONF: `${folder}/containers.conf`,
      RABBITMQ_PASSWORD: "letters4",
    };
  }

  async prepare(): Promise<void> {
    const folder = this.#folder;
    const runtime = await where("runc") === undefined ? "" : "--runtime runc";
    const stores = `--root ${folder}/store --runroot ${folder}/run --storage-driver vfs`;
    const line = `exec ${await where("podman")} ${stores} ${runtime} "$@"`;
    await Deno.writeTextFile(`${folder}/podman`, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
    await Deno.writeTextFile(`${folder}/containers.conf`, CONFIG);
  }

  run(...args: string[]): Promise<string> {
    return shell(`${this.#folder}/podman`, args, { env: this.#env });
  }

  compose(file: string, ...args: string[]): Promise<string> {
    return shell("podman-compose", ["-f", file, ...args], { env: this.#env });
  }
}

async function main(): Promise<void> {
  const missing: string[] = [];
  for (const name of NAMES) if (await where(name) === undefined) missing.push(name);
  if (Deno.uid() !== 0) missing.push("root");
  if (missing.length > 0) throw new Error(`needs ${missing.join(", ")}`);
  const work = Deno.env.get(WORK);
  if (work === undefined) return await inNamespace(Deno.args[0]);
  const podman = new Podman(work);
  await tutorial(podman);
  console.error("the tutorial in containers: done");
  await withBroker(podman, work);
  console.error("the compose file with our broker: done");
  await withRabbitmq(podman, work);
  console.error("the compose file with RabbitMQ: done");
}

/**
 * Bridges, mounts and processes of containers are in namespaces of their own, and end with them; the
 * image is built before.
 */
async function inNamespace(given: string | undefined): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "container-" });
  try {
    const podman = new Podman(work);
    await podman.prepare();
    await build(podman, work, given);
    console.error("the image: built");
    await importRabbitmq(podman, work);
    console.error("the image of RabbitMQ: made");
    const self = [Deno.execPath(), "run", "--allow-all", import.meta.filename!];
    await shell("unshare", [
      ...["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
      ...["sh", "-c", 'ip link set lo up; exec "$@"', "sh", ...self],
    ], { env: { [WORK]: work } });
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

async function build(podman: Podman, work: string, given: string | undefined): Promise<void> {
  const root = given ?? `${work}/root`;
  if (given === undefined) await shell("debootstrap", ["--variant=minbase", "bookworm", root]);
  await shell("tar", ["-cf", `${work}/base.tar`, "-C", root, "."]);
  await podman.run("import", `${work}/base.tar`, "docker.io/library/debian:12-slim");
  // Packages come from where this machine has them.
  await podman.run(
    ...["build", "--isolation", "chroot", "--network", "host", "--pull=never"],
    ...["--volume", "/etc/apt:/etc/apt:ro", "--format", "docker", "--tag", "workqueue"],
    ...["--file", `${project}packaging/container/Containerfile`, project],
  );
}

/** What the compose file asks of RabbitMQ's own image. */
const RABBITMQ_ENTRY = `#!/bin/sh -e
printf 'default_user = %s\\ndefault_pass = %s\\n' \
  "$RABBITMQ_DEFAULT_USER" "$RABBITMQ_DEFAULT_PASS" >/etc/rabbitmq/rabbitmq.conf
rabbitmq-plugins enable --offline rabbitmq_management
exec rabbitmq-server
`;

async function importRabbitmq(podman: Podman, work: string): Promise<void> {
  const [tar, extra] = [`${work}/rabbitmq.tar`, `${work}/rabbitmq`];
  await Deno.mkdir(extra);
  await Deno.writeTextFile(`${extra}/entry`, RABBITMQ_ENTRY, { mode: 0o755 });
  await shell("tar", ["-cf", tar, "-C", await prepareDebian(), "."]);
  await shell("tar", ["-rf", tar, "-C", extra, "./entry"]);
  const name = "docker.io/library/rabbitmq:4-management";
  await podman.run("import", "--change", 'ENTRYPOINT ["/entry"]', tar, name);
  await Deno.remove(tar);
}

async function tutorial(podman: Podman): Promise<void> {
  await podman.run(
    ...["run", "--detach", "--name", "broker", "--network", "none"],
    ...["--env", "HEALTH_PORT=5672", "workqueue", "broker", "--data", "/data"],
  );
  await waitUntil("the broker to be healthy", () => isHealthy(podman, "broker"));
  const beside = ["run", "--rm", "--network", "container:broker", "workqueue"];
  await podman.run(...beside, "new_task", "First", "message.");
  const told = await podman.run(...beside, "worker", "--exit-when-empty");
  expect(told.includes(" [x] Received First message.\n [x] Done"), told);
  // Of a task something is left that outlives its command, which then looks for zombies.
  const work = 'setsid sh -c "sleep 0 & sleep 0 &" & for i in $(seq 100); do ' +
    'grep -h ") Z " /proc/[0-9]*/stat >zombies || break; sleep 0.1; done; ' +
    "cat zombies; cut -c1-8 /proc/1/stat";
  await podman.run(...beside, "new_task", "--queue", "left", "x");
  const left = await podman.run(
    ...[...beside, "worker", "--queue", "left", "--leave-orphans", "--exit-when-empty"],
    ...["--output", "inherit", "--shell", work],
  );
  expect(left.includes("1 (tini)") && !left.includes(") Z "), left);
  const user = await podman.run("exec", "broker", "id", "-u");
  expect(user === "10001", `the broker runs as ${user}`);
  await podman.run("stop", "--time", "30", "broker");
  const code = await podman.run("inspect", "broker", "--format", "{{.State.ExitCode}}");
  expect(code === "0", `the broker ended with ${code}`);
  await podman.run("rm", "broker");
}

async function withBroker(podman: Podman, work: string): Promise<void> {
  const folder = `${work}/compose/packaging/container`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/password.txt`, PASSWORD);
  const login = ["--url", "amqp://tasks@broker/", "--password-file", "/run/secrets/password"];
  await composed(podman, folder, "compose.broker.yaml", "broker", login);
}

async function withRabbitmq(podman: Podman, work: string): Promise<void> {
  const folder = `${work}/compose/packaging/container`;
  // One worker: Debian 12's podman-compose takes --scale, and does nothing about it.
  await composed(podman, folder, "compose.rabbitmq.yaml", "rabbitmq", []);
}

/**
 * Brings all up, and has a task done.
 *
 * @param login what new_task needs in the container of the worker
 */
async function composed(
  podman: Podman,
  folder: string,
  name: string,
  broker: string,
  login: readonly string[],
): Promise<void> {
  const file = `${folder}/${name}`;
  await Deno.copyFile(`${project}packaging/container/${name}`, file);
  await podman.compose(file, "up", "--detach", "--no-build");
  const names = (await podman.run("ps", "--format", "{{.Names}}")).split("\n");
  const of = (service: string) => names.find((name) => name.includes(service))!;
  const worker = of("worker");
  for (const each of [of(broker), worker]) {
    await waitUntil(`${each} to be healthy`, () => isHealthy(podman, each));
  }
  await podman.run("exec", worker, "new_task", ...login, "First message.");
  await waitUntil(
    "the task to be done",
    async () => (await podman.run("logs", worker)).includes(" [x] Done"),
  );
  await podman.compose(file, "down");
}

async function isHealthy(podman: Podman, name: string): Promise<boolean> {
  return await podman.run("healthcheck", "run", name).then(() => true, () => false);
}

async function where(name: string): Promise<string | undefined> {
  return await shell("sh", ["-c", 'command -v "$0"', name]).catch(() => undefined);
}

function expect(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}

try {
  await main();
} catch (error) {
  console.error(`test_container: ${error instanceof Error ? error.message : error}`);
  Deno.exit(1);
}
