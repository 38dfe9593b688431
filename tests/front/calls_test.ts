/** `openTasks(...).call()` and the worker's side of it: answers to those who wait for tasks. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  DeadTaskError,
  type HandlerFunction,
  openTasks,
  RecordError,
  RejectTask,
  RetryTask,
  runWorker,
  type TaskProgress,
  ToolError,
} from "../../src/mod.ts";
import { onChannel, takeAll } from "../e2e/queue_view.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import { uniqueName } from "../support/temp.ts";
import { within } from "../support/wait.ts";

const node = await sharedNode();
const { url } = node;

/** A worker of this process; disposing ends it. */
function work(queue: string, handler: HandlerFunction, concurrency = 1): AsyncDisposable {
  const end = new AbortController();
  const ended = runWorker({
    url,
    queue,
    handler,
    concurrency,
    signal: end.signal,
    retries: { maxAttempts: 2, backoffMs: [10] },
  });
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await ended;
    },
  };
}

brokerTest("call() resolves with what the function returned, of its last attempt", async () => {
  const queue = uniqueName("calls");
  await using tasks = await openTasks({ url, queue });
  await using _worker = work(queue, (task, { attempt }) => {
    const what = task.text();
    if (what === "again" && attempt === 1) throw new RetryTask("not yet", { delayMs: 10 });
    if (what === "reject") throw new RejectTask("no good");
    if (what === "fail") throw new Error("never");
    const values: Record<string, unknown> = {
      again: `at last, ${attempt}`,
      bytes: Uint8Array.of(0, 255),
      json: { a: [1] },
      cyclic: globalThis,
      much: "x".repeat(1024 * 1024 + 1),
    };
    return values[what];
  });
  const answers = await Promise.all(
    ["again", "bytes", "json", "nothing", "cyclic", "much"].map(async (body) => {
      const { contentType, outcome, ...answer } = await tasks.call({ body, id: body });
      assertEquals([answer.id, outcome], [body, "done"]);
      return [new TextDecoder().decode(answer.body).slice(0, 16), contentType, answer.cut];
    }),
  );
  assertEquals(answers, [
    ["at last, 2", "text/plain", false],
    ["\0\ufffd", "application/octet-stream", false],
    ['{"a":[1]}', "application/json", false],
    ["", undefined, false],
    ["", undefined, true],
    ["x".repeat(16), "text/plain", true],
  ]);
  const rejected = await assertRejects(
    () => tasks.call({ body: "reject", id: "r" }),
    DeadTaskError,
  );
  assertEquals(rejected.message, 'the task "r" is dead (rejected): no good');
  assertEquals([rejected.exitCode, rejected.answer.reason], [1, "rejected"]);
  const failed = await assertRejects(() => tasks.call({ body: "fail", id: "f" }), DeadTaskError);
  assertEquals(failed.message, 'the task "f" is dead (max-attempts): never');
  assertEquals((await takeAll(url, `${queue}.dead`)).length, 2);
  await assertRejects(() => tasks.call({ body: "x", reply_to: "y" }), RecordError, "reply_to");
});

brokerTest("who waits for a task and asks for it is told how far it is", async () => {
  const queue = uniqueName("calls-progress");
  await using tasks = await openTasks({ url, queue });
  const heard: TaskProgress[] = [];
  const told = Promise.withResolvers<void>();
  await using _worker = work(queue, async (_task, { progress }) => {
    // Many at once are one message.
    for (let done = 0; done <= 500; done++) progress(done, 500);
    await told.promise;
    progress(501);
    return "done";
  });
  const { body } = await tasks.call({ body: "x" }, {
    onProgress: (progress) => {
      heard.push(progress);
      if (progress.done === 500) told.resolve();
    },
  });
  assertEquals(new TextDecoder().decode(body), "done");
  assertEquals(heard.slice(0, 2), [{ attempt: 1 }, { attempt: 1, done: 500, total: 500 }]);
  assert(heard.length <= 3, JSON.stringify(heard));
});

brokerTest("a call ends in time, when it is given up, and with its queue", async () => {
  const queue = uniqueName("calls-ends");
  const tasks = await openTasks({ url, queue });
  // On a busy machine even a confirm may take that long.
  for (let timeout = 300, isSent = false; !isSent; timeout *= 2) {
    const late = await assertRejects(() => tasks.call({ body: "x", id: "a" }, { timeout }));
    assert(late instanceof ToolError);
    assertEquals(late.exitCode, 75);
    isSent = !late.message.endsWith("the task may be on the queue or not");
    const where = isSent ? 'the task "a" may be done already, or later' : ".*";
    assertMatch(late.message, new RegExp(`^no answer came within .* m?s: ${where}$`));
  }
  const controller = new AbortController();
  const given = tasks.call({ body: "y" }, { signal: controller.signal });
  controller.abort(new Error("the user left"));
  await assertRejects(
    () => given,
    ToolError,
    "no answer came until it was given up (the user left)",
  );
  await assertRejects(() => tasks.call({ body: "y" }, { timeout: 0 }), ToolError, "timeout");
  const same = { body: "z", correlation_id: "mine" };
  const open = tasks.call(same, { timeout: Infinity });
  await assertRejects(() => tasks.call(same), ToolError, '"mine"');
  const closed = assertRejects(() => open, ToolError, "the queue was closed");
  await tasks.close();
  await closed;
  await assertRejects(() => tasks.call({ body: "z" }), ToolError, "the queue was closed");
});

brokerTest(
  "a lost connection ends the calls that it would have answered, and no others",
  async () => {
    const queue = uniqueName("calls-lost");
    await using proxy = await Proxy.start(node.port);
    await using tasks = await openTasks({ url: proxy.url + new URL(url).pathname.slice(1), queue });
    const begun = Promise.withResolvers<void>();
    const lost = Promise.withResolvers<void>();
    await using _worker = work(queue, async (task) => {
      begun.resolve();
      if (task.id === "slow") await lost.promise;
      return task.id;
    });
    const slow = tasks.call({ body: "x", id: "slow" }, { timeout: Infinity });
    await within("the first task", begun.promise);
    // A delivery may come before the confirm, which these come behind.
    for (let i = 0; i < 5; i++) await tasks.publish({ body: "x", queue: `${queue}-other` });
    await proxy.cut();
    const { message } = await assertRejects(() => within("the loss", slow), ToolError);
    assertMatch(
      message,
      /^the answer is lost with its connection \(.+\): the task "slow" may be do/,
    );
    lost.resolve();
    // Its answer finds nobody, and the worker goes on.
    const { body } = await tasks.call({ body: "x", id: "next" });
    assertEquals(new TextDecoder().decode(body), "next");
  },
);

brokerTest(
  "an answer that nobody takes costs nothing; one for a queue is its body",
  async () => {
    const queue = uniqueName("calls-gone");
    const replies = uniqueName("replies");
    const nowhere = [
      "amq.rabbitmq.reply-to",
      "amq.rabbitmq.reply-to.nobody",
      "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA1.Tm9ib2R5QXRBbGxIZXJlPT0=",
      uniqueName("no-such-queue"),
      "\ud7ff".repeat(80),
    ];
    await onChannel(url, async (channel) => {
      await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
      await channel.queueDeclare(replies, { durable: true });
      await channel.confirmSelect();
      // To a channel that has gone.
      await channel.basicConsume("amq.rabbitmq.reply-to", { noAck: true }, () => {});
      await channel.basicPublish("", queue, "gone", { replyTo: "amq.rabbitmq.reply-to" });
      await Promise.all(
        nowhere.slice(1).map((replyTo) => channel.basicPublish("", queue, "lost", { replyTo })),
      );
      await channel.basicPublish("", queue, "last", { replyTo: replies, correlationId: "c" });
      await channel.basicPublish("", queue, "plain", { messageId: "m", replyTo: replies });
    });
    const seen: string[] = [];
    await runWorker({
      url,
      queue,
      exitWhenEmpty: true,
      concurrency: 3,
      handler: (task) => {
        seen.push(task.text());
        return `${task.text()}!`;
      },
    });
    assertEquals(seen.toSorted(), ["gone", "last", "lost", "lost", "lost", "lost", "plain"]);
    const answers = await takeAll(url, replies);
    assertEquals(
      answers.map((answer) => [
        answer.bodyString()!,
        answer.properties.correlationId!,
        answer.properties.contentType!,
        String(answer.properties.headers?.["task-answer"]),
      ]).toSorted(),
      [["last!", "c", "text/plain", "done"], ["plain!", "m", "text/plain", "done"]],
    );
    await takeAll(url, queue).then((left) => assertEquals(left, []));
    await takeAll(url, `${queue}.dead`).then((dead) => assertEquals(dead, []), () => {});
  },
);

brokerTest(
  "answers to nonsense names, at which RabbitMQ closes the connection, cost no other",
  async () => {
    const queue = uniqueName("calls-nonsense");
    const replies = uniqueName("replies");
    await onChannel(url, async (channel) => {
      await channel.queueDeclare(queue, { durable: true }, { "x-queue-type": "quorum" });
      await channel.queueDeclare(replies, { durable: true });
      await channel.confirmSelect();
      await Promise.all(Array.from({ length: 40 }, (_, i) => {
        const replyTo = i % 2 ? replies : `amq.rabbitmq.reply-to.AAAA.B${i}`;
        return channel.basicPublish("", queue, `${i}`, { replyTo, correlationId: `${i}` });
      }));
    });
    await runWorker({
      url,
      queue,
      exitWhenEmpty: true,
      concurrency: 40,
      handler: (task) => task.text(),
    });
    const answers = await takeAll(url, replies);
    const whose = new Set(answers.map(({ properties }) => Number(properties.correlationId)));
    assertEquals(
      [...whose].toSorted((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => 2 * i + 1),
    );
  },
);
