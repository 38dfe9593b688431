/** `openTasks`: a publisher that lives, through everything that happens to its connection. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  ConnectionError,
  openTasks,
  RecordError,
  type RecordInput,
  runWorker,
  ToolError,
  UsageError,
} from "../../src/mod.ts";
import { onChannel, takeAll, waitForReady } from "../e2e/queue_view.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { startBroker } from "../support/embedded.ts";
import { Proxy } from "../support/proxy.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";

const node = await sharedNode();

brokerTest("publish() resolves with the id of a task that is on its queue", async () => {
  const { url } = node;
  const [queue, other] = [uniqueName("tasks"), uniqueName("tasks-other")];
  await using tasks = await openTasks({ url, queue });
  const record = { json: { a: 1 }, id: "a", headers: { size: "small" }, priority: 3 };
  assertEquals(await tasks.publish(record), "a");
  const id = await tasks.publish({ body: Uint8Array.of(0, 255), queue: other });
  assertEquals(await tasks.publish({ body: "later", id: "later", delay: 3_600 }), "later");
  const [first] = await takeAll(url, queue);
  assertEquals([first?.bodyString(), first?.properties.messageId], ['{"a":1}', "a"]);
  assertEquals(first?.properties.headers?.size, "small");
  assertEquals([first?.properties.deliveryMode, first?.properties.priority], [2, 3]);
  const [second] = await takeAll(url, other);
  assertEquals([second?.body, second?.properties.messageId], [Uint8Array.of(0, 255), id]);
  assertEquals((await takeAll(url, `${queue}.delay.3600000`)).length, 1);
});

brokerTest(
  "what cannot be published is refused in one sentence, and costs the others nothing",
  async () => {
    const { url } = node;
    const queue = uniqueName("tasks-bad");
    await using tasks = await openTasks({ url, queue });
    const bad = await assertRejects(() => tasks.publish({ body: "a", json: 1 }), RecordError);
    assertEquals([bad.field, bad.exitCode], ["", 65]);
    await assertRejects(() => tasks.publish({ body: "a", id: "x".repeat(256) }), RecordError);
    const wide = { body: "a", headers: { a: "x".repeat(200_000) } };
    assertEquals((await assertRejects(() => tasks.publish(wide), ToolError)).exitCode, 65);
    await tasks.publish({ body: "good" });
    assertEquals((await takeAll(url, queue)).length, 1);
    await assertRejects(() => openTasks({ url, queue, timeoutMs: 0 }), UsageError);
    const wrong = url.replace("guest:guest", "guest:wrong");
    if (wrong !== url) {
      const refused = await assertRejects(() => openTasks({ url: wrong, queue }), ConnectionError);
      assertEquals(refused.exitCode, 77);
    }
    await tasks.close();
    await assertRejects(() => tasks.publish({ body: "late" }), ToolError, "the queue was closed");
  },
);

brokerTest("tasks survive a connection that is cut again and again", async () => {
  const { url } = node;
  const queue = uniqueName("tasks-cuts");
  await using proxy = await Proxy.start(node.port);
  await using tasks = await openTasks({ url: proxy.url + vhostOf(url), queue });
  const ids = new Set<string>();
  let stop = false;
  async function publishOn(lane: number): Promise<void> {
    for (let i = 0; !stop; i++) ids.add(await tasks.publish({ body: "x", id: `${lane}-${i}` }));
  }
  const lanes = Promise.all(Array.from({ length: 20 }, (_, lane) => publishOn(lane)));
  for (let cuts = 0; cuts < 5; cuts++) {
    const before = ids.size;
    while (ids.size < before + 100) await within("confirms", tasks.publish({ body: "-", id: "-" }));
    await proxy.cut();
  }
  stop = true;
  await within("all lanes", lanes);
  await tasks.close();
  const there = new Set((await takeAll(url, queue)).map(({ properties }) => properties.messageId));
  for (const id of ids) assert(there.has(id), id);
});

Deno.test("tasks survive a broker that is killed, and a queue that is deleted", async () => {
  await using own = await startBroker();
  const queue = uniqueName("tasks-kill");
  await using tasks = await openTasks({ url: own.url, queue, timeoutMs: 120_000 });
  await tasks.publish({ body: "1", id: "1" });
  await own.kill();
  const during = tasks.publish({ body: "2", id: "2" });
  await own.start();
  assertEquals(await during, "2");
  await onChannel(own.url, (channel) => channel.queueDelete(queue));
  assertEquals(await tasks.publish({ body: "3", id: "3" }), "3");
  assertEquals((await takeAll(own.url, queue)).length, 1);
});

brokerTest(
  "what a silent broker does not confirm in time is told, and no more waits than may",
  async () => {
    const { url } = node;
    const queue = uniqueName("tasks-silent");
    await using proxy = await Proxy.start(node.port);
    const options = { url: proxy.url + vhostOf(url), queue, timeoutMs: 1_000 };
    await using tasks = await openTasks(options);
    proxy.blackHole("toServer");
    const controller = new AbortController();
    const given = tasks.publish({ body: "x" }, { signal: controller.signal });
    controller.abort(new Error("the user left"));
    const { message } = await assertRejects(() => given, ConnectionError);
    assertMatch(
      message,
      /^the task was not confirmed until it was given up \(the user left\), and/,
    );
    const waiting = Array.from({ length: 10_000 }, () => tasks.publish({ body: "x" }));
    const most = await assertRejects(() => tasks.publish({ body: "x" }), ToolError);
    assertMatch(
      most.message,
      /^at most 10000 tasks and .* may wait for their confirm, and 10000 tas/,
    );
    for (const outcome of await within("their time", Promise.allSettled(waiting))) {
      assert(outcome.status === "rejected");
      assertMatch(
        outcome.reason.message,
        /^the task was not confirmed within 1 s, and may be on the /,
      );
    }
    await proxy.cut();
    proxy.heal();
    await waitUntil("a task to be confirmed in its second", async () => {
      return await tasks.publish({ body: "y", id: "y" });
    });
    const there = (await takeAll(url, queue)).map(({ properties }) => properties.messageId);
    assertEquals([...new Set(there)], ["y"]);
  },
);

brokerTest("publishMany() asks its source for no more than is confirmed, and counts", async () => {
  const { url } = node;
  const queue = uniqueName("tasks-many");
  await using proxy = await Proxy.start(node.port);
  await using tasks = await openTasks({ url: proxy.url + vhostOf(url), queue });
  let asked = 0;
  function* records(count: number): Generator<RecordInput> {
    for (let i = 0; i < count; i++) {
      asked++;
      yield { body: "x", id: `${i}` };
    }
  }
  assertEquals(await tasks.publishMany(records(5_000)), 5_000);
  await waitForReady(url, queue, 5_000);
  assertEquals(await tasks.publishMany([]), 0);
  // A silent broker.
  asked = 0;
  proxy.blackHole("toServer");
  const controller = new AbortController();
  const stuck = tasks.publishMany(records(100_000), { signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve));
  assert(asked <= 1_001, String(asked));
  controller.abort(new Error("enough"));
  const { message } = await assertRejects(() => stuck, ToolError);
  assertMatch(message, /^record 1 is the first that is not confirmed: .*\(enough\)/);
  assert(asked <= 1_001, String(asked));
});

brokerTest(
  "publishMany() ends at a bad record, at an error of its source, and when it is idle",
  async () => {
    const { url } = node;
    const queue = uniqueName("tasks-ends");
    await using tasks = await openTasks({ url, queue });
    let returned = 0;
    async function* source(end: () => unknown): AsyncGenerator<RecordInput> {
      try {
        yield { body: "1" };
        yield { body: "2" };
        yield await end() as RecordInput;
        yield { body: "never" };
      } finally {
        returned++;
      }
    }
    const bad = source(() => ({ body: 3 }));
    const error = await assertRejects(() => tasks.publishMany(bad), ToolError);
    assertEquals(
      error.message,
      "record 3 is the first that is not confirmed: body must be text, and is 3",
    );
    assertEquals([error.exitCode, returned], [65, 1]);
    const broken = source(() => Promise.reject(new RangeError("disk")));
    await assertRejects(() => tasks.publishMany(broken), RangeError, "disk");
    const controller = new AbortController();
    const idle = source(() => {
      controller.abort(new Error("enough"));
      return new Promise(() => {});
    });
    await assertRejects(
      () => within("the end", tasks.publishMany(idle, { signal: controller.signal })),
      ToolError,
      "given up",
    );
    await tasks.close();
    // Of the last source nobody knows what was confirmed when it was given up.
    assert((await takeAll(url, queue)).length >= 4);
  },
);

Deno.test("what a broker that blocks does not take in time is not kept", async () => {
  await using broker = await startBroker({ args: ["--disk-free-limit", "100000000000000"] });
  const tasks = await openTasks({ url: broker.url, queue: "blocked", timeoutMs: 10 });
  try {
    for (let i = 0; i < 200; i++) {
      const body = new Uint8Array(1024 * 1024).fill(i);
      await assertRejects(() =>
        tasks.publish({ body, queue: i % 2 ? "blocked" : `other-${i % 8}` })
      );
    }
    await waitUntil("what was not taken to be given up", () => {
      new Uint8Array(10 * 1024 * 1024); // so that garbage is looked for
      return Deno.memoryUsage().external < 100 * 1024 * 1024;
    });
  } finally {
    await tasks.close();
  }
});

brokerTest("close() waits for what is on its way", async () => {
  const { url } = node;
  const queue = uniqueName("tasks-close");
  const tasks = await openTasks({ url, queue });
  const ids = Array.from({ length: 500 }, () => tasks.publish({ body: "x" }));
  await tasks.close();
  assertEquals((await Promise.all(ids)).length, 500);
  await waitForReady(url, queue, 500);
});

/** The vhost of a URL, for one that ends in "/". */
function vhostOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

Deno.test("a task that is too large for the broker costs no other task, nor its answer", async () => {
  await using broker = await startBroker({ args: ["--max-message-size", "100000"] });
  const queue = "large";
  await using tasks = await openTasks({ url: broker.url, queue });
  const begun = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const end = new AbortController();
  const working = runWorker({
    url: broker.url,
    queue,
    signal: end.signal,
    concurrency: 100,
    handler: async (task) => {
      if (task.id !== "slow") return;
      begun.resolve();
      await over.promise;
      return "at last";
    },
  });
  const slow = tasks.call({ body: "x", id: "slow" });
  slow.catch(() => {});
  await begun.promise;
  const large = { body: new Uint8Array(100_001) };
  for (const send of [() => tasks.publish(large), () => tasks.call(large)]) {
    const others = Array.from({ length: 20 }, (_, i) => tasks.publish({ body: "x", id: `${i}` }));
    const refused = assertRejects(send, ToolError, "the broker refused the task");
    others.push(...Array.from({ length: 20 }, (_, i) => tasks.publish({ body: "x", id: `+${i}` })));
    await refused;
    assertEquals((await Promise.all(others)).length, 40);
  }
  over.resolve();
  assertEquals(new TextDecoder().decode((await slow).body), "at last");
  end.abort();
  await working;
});

Deno.test("an answer that is too large for the broker is told as one that cannot be sent", async () => {
  await using broker = await startBroker({ args: ["--max-message-size", "65536"] });
  const { url } = broker;
  const queue = "large-answers";
  await using tasks = await openTasks({ url, queue });
  const calls = ["large", "small"].map((body) => tasks.call({ body }));
  await runWorker({
    url,
    queue,
    maxTasks: 2,
    concurrency: 2,
    handler: (task) => task.text() === "large" ? new Uint8Array(65_537) : task.text(),
  });
  const [large, small] = await Promise.all(calls);
  assertEquals([large!.outcome, large!.body.length, large!.cut], ["done", 0, true]);
  assertMatch(large!.error!, /^the answer cannot be sent: the broker refused the task: .*65537/);
  assertEquals(new TextDecoder().decode(small!.body), "small");
});
