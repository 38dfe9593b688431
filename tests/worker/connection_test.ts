import { assert, assertEquals, assertMatch } from "@std/assert";
import { Consumer } from "../../src/amqp/consumer.ts";
import { createLogger } from "../../src/observe/log.ts";
import type { Decision } from "../../src/task/retry.ts";
import type { TaskProperties } from "../../src/task/task.ts";
import type { QueueSpec } from "../../src/task/topology.ts";
import type { Original } from "../../src/amqp/client/received_properties.ts";
import { FinishedTasks } from "../../src/worker/finished.ts";
import { Copier } from "../../src/worker/copier.ts";
import { Pool } from "../../src/worker/pool.ts";
import { ReturnLimits } from "../../src/worker/return_limits.ts";
import { Settler } from "../../src/worker/settle.ts";
import { Starts } from "../../src/worker/starts.ts";
import { DEFAULT_POLICY } from "../../src/task/retry.ts";
import { Proxy } from "../support/proxy.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { toolCommand } from "../support/tools.ts";
import { Mailbox, waitUntil } from "../support/wait.ts";
import { connectorFor, QueueBench } from "./bench.ts";

const { url } = await sharedNode();
const log = createLogger({ name: "test", write: () => {} });

/** Cuts the consumer's connection when the broker has confirmed a copy: before the ack. */
class CuttingCopier extends Copier {
  #cuts: number;
  readonly #cut: () => Promise<void>;

  constructor(cuts: number, cut: () => Promise<void>) {
    super({ connector: connectorFor(url), log });
    this.#cuts = cuts;
    this.#cut = cut;
  }

  override async publish(
    queue: QueueSpec,
    body: Uint8Array,
    properties: TaskProperties,
    signal: AbortSignal,
    original?: Original,
  ): Promise<void> {
    await super.publish(queue, body, properties, signal, original);
    if (this.#cuts-- > 0) await this.#cut();
  }
}

/** Consumes through a proxy; `crashed` stands for a new process, which remembers nothing. */
async function failOnce(bench: QueueBench, crashed: boolean): Promise<number> {
  await using proxy = await Proxy.start(Number(new URL(url).port));
  let count = 0;
  const finished = new FinishedTasks();
  if (crashed) finished.remember = () => {};
  let lost: AbortSignal;
  const copier = new CuttingCopier(1, async () => {
    const noticed = new Promise((resolve) => lost.addEventListener("abort", resolve));
    await proxy.cut();
    await noticed;
  });
  const settled = new Mailbox<Decision>("settling");
  const settler = new Settler({
    copier,
    finished,
    returnLimits: new ReturnLimits(connectorFor(url)),
    queueType: "quorum",
    host: "h",
    log,
    onRefused: () => Promise.resolve(),
  });
  const settle = settler.settle.bind(settler);
  settler.settle = async (...args) => {
    await settle(...args);
    settled.put(args[1]);
  };
  const pool = new Pool({
    concurrency: 1,
    handler: () => {
      count++;
      return Promise.resolve({ kind: "failed", reason: "always" });
    },
    policy: { ...DEFAULT_POLICY, backoffMs: [60_000], jitter: 0 },
    settler,
    oversize: { refuse: () => Promise.resolve(undefined) },
    starts: new Starts(copier, log),
    finished,
    log,
    stopMs: 1_000,
  });
  const consumer = new Consumer({
    connector: connectorFor(proxy.url),
    queue: { name: bench.name, type: "quorum", strict: false, create: false },
    prefetch: 1,
    log,
    onDelivery: (delivery) => {
      lost = delivery.lost;
      pool.run(delivery);
    },
  });
  const running = consumer.run();
  await settled.next();
  await settled.next();
  await consumer.stop();
  await pool.idle();
  await consumer.close();
  await running;
  await copier.close();
  return count;
}

brokerTest(
  "a channel that dies between the retry's confirm and the ack costs no second run",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("x", { messageId: "t" });
    assertEquals(await failOnce(bench, false), 1);
    await bench.holds(0);
    await bench.holds(1, `${bench.name}.delay.60000`);
  },
);

brokerTest(
  "a worker that dies between the retry's confirm and the ack loses nothing",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("x", { messageId: "t" });
    assertEquals(await failOnce(bench, true), 2);
    await bench.holds(0);
    await bench.holds(2, `${bench.name}.delay.60000`);
  },
);

brokerTest(
  "kill -9 between a copy's confirm and the ack runs the task again, and loses none",
  async () => {
    const fates = [[1, "delay.60000"], [65, "dead"]] as const;
    for (const [status, suffix] of fates) {
      await using bench = await QueueBench.open(url);
      await using proxy = await Proxy.start(Number(new URL(url).port));
      await using dir = await tempDir();
      await bench.send("x", { messageId: "t" });
      const args = [
        ...["--backoff", "1m", "--max-tasks", "1", "--", "sh", "-c"],
        `echo begun; while [ ! -e ${dir.file("go")} ]; do sleep 0.02; done; exit ${status}`,
      ];
      await using victim = bench.worker("--url", proxy.url.replace("guest:guest@", ""), ...args);
      await victim.waitForLog(/begun/);
      // Copies go out on a second connection, the acknowledgement on this one.
      proxy.mute(1);
      await Deno.writeTextFile(dir.file("go"), "");
      await waitUntil("the copy to be there", async () => {
        return await bench.ready(`${bench.name}.${suffix}`) === 1;
      });
      assertEquals((await victim.destroy()).signal, "SIGKILL");
      await using heir = bench.worker(...args);
      assertEquals((await heir.ended()).code, 0);
      await bench.holds(2, `${bench.name}.${suffix}`);
      await bench.holds(0);
    }
  },
);

brokerTest("a task that ends after its connection was cut is not run again here", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(Number(new URL(url).port));
  await bench.send("x", { messageId: "t" });
  await using dir = await tempDir("cut-");
  await using worker = bench.worker(
    ...["--url", proxy.url.replace("guest:guest@", ""), "--", "sh", "-c"],
    `echo begun; while [ ! -e ${dir.path}/go ]; do sleep 0.02; done; echo finished`,
  );
  await worker.waitForLog(/begun/);
  await proxy.cut();
  await worker.waitForLog(/trying again in/);
  await Deno.writeTextFile(dir.file("go"), "");
  await worker.waitForLog(/orphaned-result/);
  await worker.waitForLog(/connected again/);
  await worker.waitForLog(/not run again id=t/);
  worker.kill();
  assertEquals((await worker.ended()).code, 0);
  assertEquals(worker.stderr.filter((line) => line.includes("begun")).length, 1);
  await bench.holds(0);
});

brokerTest(
  "a task whose acknowledgement was lost with its connection is not run again here",
  async () => {
    await using bench = await QueueBench.open(url);
    await using proxy = await Proxy.start(Number(new URL(url).port));
    await bench.send("x", { messageId: "t" });
    await using dir = await tempDir("lost-");
    await using worker = bench.worker(
      ...["--url", proxy.url.replace("guest:guest@", ""), "--", "sh", "-c"],
      `echo begun; while [ ! -e ${dir.path}/go ]; do sleep 0.02; done`,
    );
    await worker.waitForLog(/begun/);
    proxy.blackHole("toServer");
    await Deno.writeTextFile(`${dir.path}/go`, "");
    await worker.waitForLog(/done id=t/);
    await proxy.cut();
    proxy.heal();
    await worker.waitForLog(/connected again/);
    await worker.waitForLog(/not run again id=t/);
    worker.kill();
    assertEquals((await worker.ended()).code, 0);
    assertEquals(worker.stderr.filter((line) => line.includes("begun")).length, 1);
    await bench.holds(0);
  },
);

brokerTest("so it is with --ack early: at most once", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(Number(new URL(url).port));
  await using worker = bench.worker(
    ...["--url", proxy.url.replace("guest:guest@", ""), "--ack", "early", "--concurrency", "2"],
    ...["--exit-when-empty", "--", "true"],
  );
  await worker.waitForLine(/Waiting/);
  // The delivery gets through, and its acknowledgement does not.
  proxy.blackHole("toServer");
  await bench.send("x", { messageId: "t" });
  await worker.waitForLog(/done id=t/);
  await proxy.cut();
  proxy.heal();
  await worker.waitForLog(/not run again id=t/);
  const { code, stderr } = await worker.ended();
  assertEquals([code, stderr.split("done id=t").length], [0, 2], stderr);
  await bench.holds(0);
});

brokerTest(
  "a task like one that was just done, delivered with it and not begun, is done too",
  async () => {
    await using bench = await QueueBench.open(url);
    await using proxy = await Proxy.start(Number(new URL(url).port));
    for (let i = 0; i < 2; i++) await bench.send("x", { messageId: "nightly" });
    await using worker = bench.worker(
      ...["--url", proxy.url.replace("guest:guest@", ""), "--concurrency", "2"],
      ...["--rate", "30/m", "--exit-when-empty", "--", "true"],
    );
    await worker.waitForLog(/done id=nightly/);
    await waitUntil("the first to be acknowledged, the second to be here", async () => {
      return await bench.ready() === 0;
    });
    await proxy.cut();
    const { code, stderr } = await worker.ended();
    assertEquals(code, 0, stderr);
    // The first one's acknowledgement may have been lost.
    assert(stderr.split("done id=nightly").length > 2, stderr);
    await bench.holds(0);
  },
);

brokerTest("--on-disconnect kill stops a command whose connection is cut", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(Number(new URL(url).port));
  await bench.send("x", { messageId: "t" });
  await using worker = bench.worker(
    ...["--url", proxy.url.replace("guest:guest@", ""), "--on-disconnect", "kill", "--"],
    ...[
      "sh",
      "-c",
      'trap "echo stopped; exit 1" TERM; echo begun $TASK_REDELIVERED; sleep 600 & wait',
    ],
  );
  await worker.waitForLog(/begun 0/);
  await proxy.cut();
  await worker.waitForLog(/stopped/);
  await worker.waitForLog(/begun 1/);
  worker.kill();
  worker.kill("SIGQUIT");
  assertEquals((await worker.ended()).code, 131);
});

brokerTest("SIGTSTP takes no more tasks and stays, SIGCONT takes them again", async () => {
  await using bench = await QueueBench.open(url);
  await using worker = bench.worker("--", "true");
  await worker.waitForLine(/Waiting/);
  worker.kill("SIGTSTP");
  await worker.waitForLog(/no more tasks until/);
  await waitUntil("the consumer to go", async () => await bench.consumers() === 0);
  await bench.send("x");
  worker.kill("SIGUSR2");
  await worker.waitForLog(/status running=0 started=0 done=0/);
  await bench.holds(1);
  worker.kill("SIGCONT");
  await worker.waitForLog(/takes tasks again/);
  await worker.waitForLog(/done .*attempt=1/);
  // What it was told before counts no more, and again it does not stop the end.
  worker.kill("SIGTSTP");
  await worker.waitForLog(/no more tasks until/, undefined, worker.stderr.length);
  await waitUntil("the consumer to go", async () => await bench.consumers() === 0);
  worker.kill("SIGTERM");
  assertEquals((await worker.ended()).code, 0);
});

brokerTest("SIGCONT takes tasks again on a connection made meanwhile", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(Number(new URL(url).port));
  await using worker = bench.worker(
    ...["--url", proxy.url.replace("guest:guest@", ""), "--max-tasks", "1", "--", "true"],
  );
  await worker.waitForLine(/Waiting/);
  worker.kill("SIGTSTP");
  await worker.waitForLog(/no more tasks until/);
  await proxy.cut();
  await worker.waitForLog(/connected again/);
  await bench.send("x");
  await waitUntil("the consumer to be gone", async () => await bench.consumers() === 0);
  worker.kill("SIGCONT");
  assertEquals((await worker.ended()).code, 0);
  await bench.holds(0);
});

brokerTest("while it is quiet no limit ends a worker, and then they count again", async () => {
  await using bench = await QueueBench.open(url);
  await using worker = bench.worker("--exit-when-empty", "--max-runtime", "1h", "--", "true");
  await worker.waitForLine(/Waiting/);
  worker.kill("SIGTSTP");
  await worker.waitForLog(/no more tasks until/);
  await waitUntil("the consumer to go", async () => await bench.consumers() === 0);
  worker.kill("SIGCONT");
  await worker.waitForLog(/ends by --exit-when-empty/);
  assertEquals((await worker.ended()).code, 0);
});

brokerTest("SIGUSR2 says what runs: id, queue, attempt and time", async () => {
  await using bench = await QueueBench.open(url);
  await using worker = bench.worker("--concurrency", "2", "--", "sh", "-c", "echo up; sleep 600");
  for (const messageId of ["one", "two"]) await bench.send("x", { messageId });
  for (const id of ["one", "two"]) await worker.waitForLog(new RegExp(`${id}.* up$`));
  worker.kill("SIGUSR2");
  await worker.waitForLog(/ status running=2 started=2 /);
  for (const id of ["one", "two"]) {
    const line = ` running id=${id} queue=${bench.name} attempt=1 seconds=\\d+(\\.\\d)?$`;
    await worker.waitForLog(new RegExp(line));
  }
  worker.kill("SIGQUIT");
  assertEquals((await worker.ended()).code, 131);
});

brokerTest("after SIGTSTP a running task outlives its connection", async () => {
  await using bench = await QueueBench.open(url);
  await using proxy = await Proxy.start(Number(new URL(url).port));
  await bench.send("x", { messageId: "t" });
  await using dir = await tempDir("tstp-");
  await using worker = bench.worker(
    ...["--url", proxy.url.replace("guest:guest@", ""), "--", "sh", "-c"],
    `echo begun; while [ ! -e ${dir.path}/go ]; do sleep 0.02; done; echo finished`,
  );
  await worker.waitForLog(/begun/);
  worker.kill("SIGTSTP");
  await worker.waitForLog(/no more tasks until/);
  await proxy.cut();
  await waitUntil("the task to come back", async () => await bench.ready() === 1);
  await Deno.writeTextFile(`${dir.path}/go`, "");
  await worker.waitForLog(/finished/);
  assert(worker.running);
  worker.kill("SIGTERM");
  assertEquals((await worker.ended()).code, 0);
});

brokerTest(
  "a broker that has fallen silent does not keep a worker that has nothing to do",
  async () => {
    for (const options of [["--grace", "100ms"], ["--grace", "1h"], []]) {
      await using bench = await QueueBench.open(url);
      await using proxy = await Proxy.start(Number(new URL(url).port));
      await using worker = bench.worker("--url", proxy.url, ...options, "--", "true");
      await worker.waitForLine(/Waiting/);
      proxy.blackHole();
      worker.kill("SIGTERM");
      // A method that is not answered takes 20 s.
      assertEquals((await worker.ended(15_000)).code, 0, options.join(" "));
    }
  },
);

brokerTest("several queues share the concurrency by their weights", async () => {
  await using one = await QueueBench.open(url);
  await using two = await QueueBench.open(url);
  for (let i = 0; i < 6; i++) {
    await one.send("", { messageId: `one-${i}` });
    await two.send("", { messageId: `two-${i}` });
  }
  const directory = await Deno.makeTempDir();
  await using worker = one.worker(
    ...["--queue", `${one.name}=3,${two.name}`, "--concurrency", "4", "--max-tasks", "12"],
    ...["--", "sh", "-c", `echo begun; while [ ! -e ${directory}/go ]; do sleep 0.02; done`],
  );
  await waitUntil("four tasks to begin", () => {
    return worker.stderr.filter((line) => line.includes("begun")).length === 4;
  });
  const begun = worker.stderr.filter((line) => line.includes("begun"));
  assertEquals(begun.filter((line) => line.startsWith("[one-")).length, 3);
  assertEquals(begun.filter((line) => line.startsWith("[two-")).length, 1);
  await Deno.writeTextFile(`${directory}/go`, "");
  assertEquals((await worker.ended()).code, 0);
  assertEquals([await one.ready(), await two.ready()], [0, 0]);
  await Deno.remove(directory, { recursive: true });
});

brokerTest("--ack early leaves nothing to the broker while a task runs", async () => {
  await using bench = await QueueBench.open(url);
  await bench.send("x", { messageId: "t" });
  const whileItLives = "echo begun; while kill -0 $PPID 2>&-; do sleep 0.05; done";
  await using worker = bench.worker("--ack", "early", "--", "sh", "-c", whileItLives);
  await worker.waitForLog(/begun/);
  await worker.destroy();
  await bench.holds(0);
});

brokerTest(
  "worker queues shows ready tasks and consumers, and of what is missing what was named",
  async () => {
    await using bench = await QueueBench.open(url);
    await bench.send("x", { messageId: "t" });
    await using failing = bench.worker("--max-tasks", "1", "--", "sh", "-c", "exit 65");
    await failing.ended();
    await waitUntil("the consumer to go", async () => await bench.consumers() === 0);
    await bench.send("y");
    const gone = `${bench.name}.gone.dead`;
    const names = `${bench.name},${gone}`;
    const [command, ...args] = toolCommand("worker", ["queues", "--queue", names]);
    await using shown = spawn(command, { args, env: { AMQP_URL: url } });
    const { stdout, code } = await shown.ended();
    assertEquals(code, 0);
    assertMatch(
      stdout,
      new RegExp(`${bench.name} +1 +0\n${bench.name}.dead +1 +0\n${gone} +missing +-\n$`),
    );
  },
);
