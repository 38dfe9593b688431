/**
 * A Celery worker with one process and late acknowledgement on each broker: what it is sent runs
 * once, or as often as what was done to it explains.
 */
import { assertEquals } from "@std/assert";
import { startBroker } from "../support/embedded.ts";
import { celeryMissing, PYTHON } from "../support/foreign.ts";
import { run, spawn, type TestProcess } from "../support/process.ts";
import { rabbitmqMissing, startRabbitmq } from "../support/rabbitmq.ts";
import { tempDir, uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";

const PROGRAMS = new URL("celery/", import.meta.url).pathname;

/** A broker of one test, with its own data. */
interface Killable extends AsyncDisposable {
  readonly url: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

const missingCelery = await celeryMissing();

for (
  const [broker, missingBroker, start] of [
    ["RabbitMQ", rabbitmqMissing, startRabbitmq],
    ["broker", undefined, startBroker],
  ] as const
) {
  const missing = missingCelery ?? missingBroker;
  Deno.test({
    name: `${broker}: Celery runs every task once, or as often as there is a reason for` +
      (missing ? ` (ignored: ${missing})` : ""),
    ignore: missing !== undefined || (Deno.env.get("CONTRACT_BROKER") ?? broker) !== broker,
    async fn(test) {
      await using folder = await tempDir();
      await using node: Killable = await start();
      const celery = new Celery(node.url, folder.file("runs"));
      await using worker = celery.worker();
      await test.step("tasks that wait for a time hold nobody up", async () => {
        await celery.send("waiting");
        await celery.has("meanwhile", 1);
      });
      await test.step("countdown, retry, chain, group, a killed child", async () => {
        await celery.send("kinds");
        for (const name of ["countdown", ...names("chain", 3), ...names("group", 5)]) {
          await celery.has(name, 1);
        }
        await celery.has("retried", 2);
        await celery.has("killed", 2);
      });
      await test.step("a killed broker", async () => {
        await celery.send("hold");
        await celery.has("held", 1);
        const lines = worker.stderr.length;
        await node.kill();
        await node.start();
        await worker.waitForLog(/Connected to amqp/, undefined, lines);
        await celery.letGo("held");
        await celery.send("last");
        for (const name of ["last", ...names("behind", 5)]) await celery.has(name, 1);
        // It was not acknowledged when the connection broke.
        await celery.has("held", 2);
      });
      const runs = await celery.runs();
      const twice = ["held", "killed", "retried"];
      const once = [
        ...["meanwhile", "countdown", "last"],
        ...[...names("chain", 3), ...names("group", 5), ...names("behind", 5)],
      ];
      const expected = new Map([
        ...once.map((name) => [name, 1] as const),
        ...twice.map((name) => [name, 2] as const),
      ]);
      assertEquals(runs, expected);
    },
  });
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
}

/** The tasks of celery/tasks.py on a broker, and what they have written down. */
class Celery {
  readonly #env: Record<string, string>;
  readonly #runs: string;

  constructor(url: string, runs: string) {
    this.#runs = runs;
    this.#env = {
      AMQP_URL: url,
      RUNS: runs,
      QUEUE: uniqueName("celery"),
      PYTHONPATH: PROGRAMS,
      PYTHONDONTWRITEBYTECODE: "1",
    };
  }

  worker(): TestProcess {
    const options = ["--concurrency", "1", "--loglevel", "INFO", "--without-mingle"];
    return spawn(PYTHON, {
      args: ["-m", "celery", "--app", "tasks", "worker", ...options],
      env: this.#env,
      killOnDispose: true,
    });
  }

  /** Sends the tasks of a step of celery/send.py. */
  async send(step: string): Promise<void> {
    const { code, stderr } = await run(PYTHON, {
      args: [`${PROGRAMS}send.py`, step],
      env: this.#env,
    });
    assertEquals(code, 0, stderr);
  }

  /** How often each task has run. */
  async runs(): Promise<Map<string, number>> {
    const text = await Deno.readTextFile(this.#runs).catch(() => "");
    const lines = text.split("\n").filter((line) => line !== "").map((line) => line.split(" ")[0]!);
    return new Map(
      Array.from(Map.groupBy(lines, (name) => name), ([name, all]) => [name, all.length]),
    );
  }

  /** Waits until a task has run so often. */
  async has(name: string, times: number): Promise<void> {
    await waitUntil(
      `${name} to run ${times} times`,
      async () => ((await this.runs()).get(name) ?? 0) >= times,
    );
  }

  /** A task that is held may end. */
  async letGo(name: string): Promise<void> {
    await Deno.writeTextFile(`${this.#runs}.${name}`, "");
  }
}
