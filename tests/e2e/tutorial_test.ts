/** RabbitMQ's second tutorial, word for word and byte for byte. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { brokerTest, sharedNode, virtualHost } from "../support/broker.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil } from "../support/wait.ts";
import { bytesOf, onChannel, takeOne, waitForNothing } from "./queue_view.ts";
import { done, finish, received, send, start, stop } from "./tools.ts";

const WAITING = " [*] Waiting for messages. To exit press CTRL+C\n";

const node = await sharedNode();
/** Here nobody else uses task_queue. */
const place = { url: await virtualHost() };

brokerTest("five tasks are shared by two workers, which print the tutorial's lines", async () => {
  const texts = ["First.", "Second..", "Third.", "Fourth..", "Fifth."];
  const target = place;
  await using first = start("worker", [], target);
  await using second = start("worker", [], target);
  const workers = [first, second];
  for (const worker of workers) await worker.waitForLine(/Waiting/);
  for (const text of texts) {
    assertEquals((await send([text], target)).stdout, ` [x] Sent ${text}\n`);
  }
  await waitUntil("five tasks to be done", () => done(...workers) === texts.length);

  assertEquals(workers.flatMap(received).sort(), texts.toSorted());
  for (const worker of workers) {
    const lines = received(worker).map((text) => ` [x] Received ${text}\n [x] Done\n`);
    assert(lines.length > 0, "one worker took every task");
    const { stdout, stderr } = await stop(worker);
    assertEquals(stdout, WAITING + lines.join(""));
    assertEquals(stderr, "");
  }
  await waitForNothing(target.url, "task_queue");
});

brokerTest("without words or with an empty one the task is hello", async () => {
  for (const words of [[], [""], ["--"]]) {
    const target = { url: node.url, queue: uniqueName("hello") };
    assertEquals((await send(words, target)).stdout, " [x] Sent hello\n");
    assertEquals((await takeOne(target.url, target.queue)).bodyToString(), "hello");
  }
});

brokerTest(
  "a task is persistent plain text with an id and a time, and the words as they are",
  async () => {
    const target = { url: node.url, queue: uniqueName("properties") };
    const before = Math.floor(Date.now() / 1000);
    await send(["Gr\u00fc\u00dfe", "", "from", "\u{1f407}.."], target);
    const message = await takeOne(target.url, target.queue);
    const { messageId, timestamp, headers = {}, ...rest } = message.properties;
    assertEquals(Object.keys(headers).filter((name) => name !== "x-delivery-count"), []);
    assertEquals(rest, { contentType: "text/plain", deliveryMode: 2 });
    assertMatch(
      messageId!,
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    const sent = timestamp!.getTime() / 1000;
    assert(sent >= before && sent <= Date.now() / 1000, `sent at ${sent}`);
    assertEquals([message.exchange, message.routingKey], ["", target.queue]);
    assertEquals(bytesOf(message), new TextEncoder().encode("Gr\u00fc\u00dfe  from \u{1f407}.."));
  },
);

brokerTest("a missing queue is made durable and quorum, without further arguments", async () => {
  const target = { url: node.url, queue: uniqueName("declared") };
  await send(["x"], target);
  await onChannel(
    target.url,
    (channel) =>
      channel.queueDeclare(
        target.queue,
        { durable: true, autoDelete: false, exclusive: false },
        { "x-queue-type": "quorum" },
      ),
  );
});

brokerTest(
  "options come before the environment, and empty variables count as absent",
  async () => {
    const queue = uniqueName("precedence");
    const elsewhere = "amqp://guest:guest@127.0.0.1:1/";
    await send(["--url", `amqp://127.0.0.1:${node.port}`, "--queue", queue, "x"], {
      url: elsewhere,
      queue: uniqueName("unused"),
    });
    assertEquals((await takeOne(node.url, queue)).bodyToString(), "x");

    const empty = await finish("new_task", ["--url", node.url.replace("guest:guest@", ""), "x"], {
      url: "",
      queue: "",
      env: { WORK_QUEUE: "" },
    });
    assertEquals([empty.code, empty.stderr], [0, ""]);
    assertEquals((await takeOne(node.url, "task_queue")).bodyToString(), "x");
  },
);
