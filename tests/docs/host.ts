/**
 * A Linux host of the test's own, for what the pages show of hosts: its network (where all ports
 * are free), /etc, /usr/local, /var/lib, /srv, /run and root's rights are its own, by namespaces;
 * the rest of the file system is this machine's. The tools are in /usr/local/bin and run the
 * source. The other hosts of the pages' examples are brokers of ours on its loopback.
 */
import { makeCertificates } from "../amqp/certificates.ts";
import { run, spawn, type TestProcess } from "../support/process.ts";
import { copyProject } from "./project.ts";

/** How long something may take on a machine that does much else. */
const HOST_MS = 60_000;

const NAMESPACES = ["--user", "--mount", "--net"];

const source = new URL("../../", import.meta.url).pathname;

/** Hosts that pages name: their address, and how their broker is started. */
const OTHER_HOSTS = {
  "cluster.example.org": ["127.0.0.2", ...tls("device7"), "--vhost", "site"],
  "broker.example.org": ["127.0.0.3", ...tls("thumbnails")],
  "node1": ["127.0.0.4", ...login("user")],
};

/** Files that pages name, as if their reader had made them. */
const FILES = {
  "/etc/worker/mails.conf": "queue = mails\nshell = cat >/dev/null\n",
  "/etc/worker/password": "secret\n",
  "/etc/broker/password": "secret\n",
  "/etc/forward/password": "secret\n",
  "/etc/new_task/tokens": "a-token-of-many-letters\n",
};

/** Why no such host can be made here, or undefined. */
export const hostMissing: string | undefined = await whyMissing();

async function whyMissing(): Promise<string | undefined> {
  try {
    const probe = "ip link set lo up && mount -t tmpfs none /srv";
    const args = [...NAMESPACES, "--map-root-user", "sh", "-c", probe];
    const { code, stderr } = await run("unshare", { args });
    return code === 0 ? undefined : `namespaces: ${stderr.trim().split("\n")[0]}`;
  } catch (error) {
    return (error as Error).message;
  }
}

function login(name: string): string[] {
  return ["--user", name, "--password-file", "/etc/forward/password"];
}

function tls(name: string): string[] {
  const certificate = ["--tls-cert", "/etc/broker/cert.pem", "--tls-key", "/etc/broker/key.pem"];
  return ["--port", "5671", ...login(name), ...certificate];
}

export class Host implements AsyncDisposable {
  readonly #dir: string;
  readonly #anchor: TestProcess;
  /** Started and not ended, the latest last. */
  readonly #running: { readonly text: string; readonly process: TestProcess }[] = [];

  private constructor(dir: string, anchor: TestProcess) {
    this.#dir = dir;
    this.#anchor = anchor;
  }

  /** @param dir an empty folder for its files */
  static async start(dir: string): Promise<Host> {
    await Deno.mkdir(`${dir}/home`);
    await Deno.mkdir(`${dir}/top`);
    await copyProject(`${dir}/project`);
    const hosts = Object.entries(OTHER_HOSTS).map(([name, [address]]) => `${address} ${name}\n`);
    // It lives as long as its stdin is open: with this process.
    const setUp = `set -e
      ip link set lo up
      mount -t tmpfs none "$0"
      mkdir "$0/etc" "$0/local"
      # What this user may not read stays away; what users are added to is there.
      cp -r --preserve=mode,links /etc/. "$0/etc" 2>/dev/null || true
      touch "$0/etc/shadow" "$0/etc/gshadow"
      mount --bind "$0/etc" /etc
      mount --rbind /usr/local "$0/local"
      for folder in usr/local var/lib srv run; do mount -t tmpfs none /$folder; done
      cp -rs "$0/local/." /usr/local/
      printf '%s' "$1" >>/etc/hosts
      mkdir -p /usr/local/share/zsh/site-functions
      echo ready
      exec cat`;
    const args = [...NAMESPACES, "--map-root-user", "bash", "-c", setUp];
    const anchor = spawn("unshare", {
      args: [...args, `${dir}/top`, hosts.join("")],
      stdin: "open",
      killOnDispose: true,
    });
    const host = new Host(dir, anchor);
    try {
      await anchor.waitForLine(/^ready$/, HOST_MS);
      await host.#install();
    } catch (error) {
      await anchor[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  /** Runs a text of bash to its end, which must be good. */
  async run(text: string): Promise<void> {
    await this.prepare(text);
    await using process = this.#spawn(["bash", "-euo", "pipefail", "-c", text]);
    await endWell(process, text);
  }

  /** Starts every command of a text in turn, and waits until each is ready or has ended well. */
  async startAll(text: string): Promise<void> {
    let exports = "";
    for (const command of text.split(/(?<!\\)\n/)) {
      if (command.startsWith("export ")) {
        exports += `${command}\n`;
        continue;
      }
      await this.prepare(command);
      await this.#startOne(command, exports);
    }
  }

  /** Starts the brokers that a text expects, unless they run: those of other hosts, and ours. */
  async prepare(text: string): Promise<void> {
    for (const [name, [address, ...args]] of Object.entries(OTHER_HOSTS)) {
      if (text.includes(name)) {
        await this.#startOnce(`broker --listen ${address} --data /srv/${name} ${args.join(" ")}`);
      }
    }
    const isBroker = /^(?:deno task )?broker(?! --listen)/;
    const needsOne = /(?:^|[ /])(?:new_task|worker) (?!--completions)/m.test(text);
    if (needsOne && !this.#running.some((each) => isBroker.test(each.text))) {
      await this.#startOnce("broker --data /srv/localhost");
    }
  }

  async writeFile(path: string, text: string, mode = "0644"): Promise<void> {
    const write = 'mkdir -p "${1%/*}" && rm -f "$1" && printf "%s" "$2" >"$1" && chmod "$3" "$1"';
    await using process = this.#spawn(["sh", "-c", write, "sh", path, text, mode]);
    await endWell(process, path);
  }

  /** SIGTERM to all that was started, the latest first; each must end with 0. */
  async endAll(): Promise<void> {
    for (let last = this.#running.pop(); last; last = this.#running.pop()) {
      last.process.kill("SIGTERM");
      await endWell(last.process, last.text);
    }
  }

  /** Removes what brokers that have ended left, their users too. */
  async forget(): Promise<void> {
    await this.run("rm -rf broker-data /var/lib/* /srv/*");
  }

  /** Ends all that was started as it comes: after a failure. */
  async killAll(): Promise<void> {
    for (const { process } of this.#running.splice(0)) await process.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAll();
    await this.#anchor[Symbol.asyncDispose]();
  }

  async #install(): Promise<void> {
    const names = [...Object.keys(OTHER_HOSTS), "localhost"];
    const { ca, server } = await makeCertificates(this.#dir, names);
    const files: [path: string, text: string][] = Object.entries(FILES);
    files.push(["/etc/forward/ca.pem", await Deno.readTextFile(ca)]);
    files.push(["/etc/broker/cert.pem", await Deno.readTextFile(server.cert)]);
    files.push(["/etc/broker/key.pem", await Deno.readTextFile(server.key)]);
    for (const [path, text] of files) await this.writeFile(path, text);
    for (const tool of ["new_task", "worker", "broker", "workqueue"]) {
      await this.writeFile(`/usr/local/bin/${tool}`, launcher(`${tool}.ts`), "0755");
    }
    // Where the pages' reader stands.
    const project = `${this.#dir}/project`;
    for (const name of ["thumbnail", "mail.sh"]) {
      await Deno.writeTextFile(`${project}/${name}`, "#!/bin/sh\ncat >/dev/null\n", {
        mode: 0o755,
      });
    }
    const single = await Deno.stat(`${source}dist/workqueue`).catch(() => undefined);
    if (single) await Deno.symlink(`${source}dist/workqueue`, `${project}/workqueue`);
    else {
      // A link to it is called by its name.
      const text = launcher("${0##*/}.ts");
      await Deno.writeTextFile(`${project}/workqueue`, text, { mode: 0o755 });
    }
  }

  async #startOnce(command: string): Promise<void> {
    if (!this.#running.some(({ text }) => text === command)) await this.#startOne(command, "");
  }

  async #startOne(command: string, exports: string): Promise<void> {
    const process = this.#spawn(["bash", "-euc", `${exports}${command}`]);
    this.#running.push({ text: command, process });
    const ready = Promise.any([
      process.waitForLine(/^ *\[\*\] /, HOST_MS),
      process.waitForLog(/ broker: ready: /, HOST_MS),
    ]);
    // Neither line comes from a command that ends.
    await Promise.race([ready.catch(() => {}), process.ended(HOST_MS)]);
    if (process.running && await ready.then(() => true, () => false)) {
      // It is ready before it knows the other broker.
      if (/\bworker forward\b/.test(command)) await this.#seeForwarded(command);
      return;
    }
    this.#running.pop();
    await endWell(process, command);
  }

  /** Sends a task on its way, and takes it at the other broker. */
  async #seeForwarded(command: string): Promise<void> {
    const [, url] = /(?:TO_AMQP_URL=|--to )(\S+)/.exec(command)!;
    const [, queue] = /--queue (\S+)/.exec(command)!;
    const there = url!.includes(":secret@") ? "" : "--password-file /etc/forward/password";
    await this.run(`new_task --queue ${queue} 21.5
      AMQP_URL=${url} worker --queue ${queue} ${there} --max-tasks 1 -- grep -qx 21.5`);
  }

  #spawn(command: readonly string[]): TestProcess {
    const project = `${this.#dir}/project`;
    const target = ["--target", `${this.#anchor.pid}`, `--wd=${project}`];
    return spawn("nsenter", {
      args: [...target, ...NAMESPACES, "--preserve-credentials", "--", ...command],
      cwd: project,
      env: {
        HOME: `${this.#dir}/home`,
        PATH: `${
          Deno.execPath().replace(/\/[^/]*$/, "")
        }:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        DENO_DIR: denoDir(),
        // An authority that this host trusts.
        DENO_CERT: "/etc/forward/ca.pem",
        AMQP_URL: undefined,
        INIT_CWD: undefined,
      },
    });
  }
}

/** Where the packages are, whatever HOME says. */
function denoDir(): string {
  const given = Deno.env.get("DENO_DIR") ?? Deno.env.get("XDG_CACHE_HOME")?.concat("/deno");
  return given ?? `${Deno.env.get("HOME")}/.cache/deno`;
}

function launcher(program: string): string {
  const flags = "--quiet --no-prompt --unstable-net --unstable-lazy-dynamic-imports -A";
  return `#!/bin/bash\nexec deno run ${flags} "${source}src/${program}" "$@"\n`;
}

async function endWell(process: TestProcess, text: string): Promise<void> {
  const { code, stdout, stderr } = await process.ended(HOST_MS);
  if (code !== 0) throw new Error(`${text}\nended with ${code}:\n${stdout}${stderr}`);
}
