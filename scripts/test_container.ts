/**
 * The container, built and run without a registry (root, podman, debootstrap, podman-compose,
 * iptables; minutes): the image from the smallest Debian, the tutorial in containers of it, their
 * health checks and their end, and the compose file with the embedded broker.
 *
 *   deno task compile --single && deno task test:container [ROOT]
 *
 * ROOT: a Debian 12 that debootstrap has made.
 */
// deno-lint-ignore-file no-console
import { waitUntil } from "../tests/support/wait.ts";
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
  await composed(podman, work);
  console.error("the compose file: done");
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
  const user = await podman.run("exec", "broker", "id", "-u");
  expect(user === "10001", `the broker runs as ${user}`);
  await podman.run("stop", "--time", "30", "broker");
  const code = await podman.run("inspect", "broker", "--format", "{{.State.ExitCode}}");
  expect(code === "0", `the broker ended with ${code}`);
  await podman.run("rm", "broker");
}

async function composed(podman: Podman, work: string): Promise<void> {
  const folder = `${work}/compose/packaging/container`;
  await Deno.mkdir(folder, { recursive: true });
  const file = `${folder}/compose.broker.yaml`;
  await Deno.copyFile(`${project}packaging/container/compose.broker.yaml`, file);
  await Deno.writeTextFile(`${folder}/password.txt`, PASSWORD);
  await podman.compose(file, "up", "--detach", "--no-build");
  const names = (await podman.run("ps", "--format", "{{.Names}}")).split("\n");
  const of = (service: string) => names.find((name) => name.includes(service))!;
  for (const service of ["broker", "worker"]) {
    await waitUntil(`${service} to be healthy`, () => isHealthy(podman, of(service)));
  }
  const login = ["--url", "amqp://tasks@broker/", "--password-file", "/run/secrets/password"];
  await podman.run("exec", of("worker"), "new_task", ...login, "First message.");
  await waitUntil(
    "the task to be done",
    async () => (await podman.run("logs", of("worker"))).includes(" [x] Done"),
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
