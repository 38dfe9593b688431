import { assert, assertEquals, assertRejects } from "@std/assert";
import { Connector } from "../../src/amqp/connection.ts";
import { declareOnce, PublishingLink } from "../../src/amqp/publishing_link.ts";
import { parseUrls } from "../../src/amqp/url.ts";
import { createLogger } from "../../src/observe/log.ts";
import { NackError } from "../../src/errors.ts";
import { onChannel } from "../e2e/queue_view.ts";
import { brokerTest, sharedNode } from "../support/broker.ts";
import { Proxy } from "../support/proxy.ts";
import { uniqueName } from "../support/temp.ts";
import { waitUntil, within } from "../support/wait.ts";

const node = await sharedNode();

function linkTo(proxy: Proxy, query = "", limits: { bytesPerSecond?: number } = {}) {
  const url = proxy.url + new URL(node.url).pathname.slice(1) + query;
  const connector = new Connector({
    endpoints: parseUrls(url, "url", { trust: {} }),
    identity: { name: "test", version: "0", ...limits },
    log: createLogger({ name: "test", write: () => {} }),
  });
  return new PublishingLink(connector);
}

brokerTest(
  "all who wait when a connection is lost get the same new one, and none stays open",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const link = linkTo(proxy);
    const { transport } = await link.open();
    await proxy.cut();
    await waitUntil("the loss to be noticed", () => transport.isEnded);
    const opened = Promise.all(Array.from({ length: 20 }, () => link.open()));
    assertEquals(new Set(await within("the new one", opened)).size, 1);
    await link.close();
    await waitUntil("the connections to be closed", () => proxy.open === 0);
    assertEquals(proxy.total, 2);
  },
);

brokerTest(
  "all who wait for a connection that cannot be made are told, and the next one tries again",
  async () => {
    await using proxy = await Proxy.start(node.port);
    proxy.refuse();
    const link = linkTo(proxy);
    const refused = Array.from({ length: 20 }, () => assertRejects(() => link.open()));
    await within("the refusals", Promise.all(refused));
    proxy.heal();
    await link.open();
    await link.close();
  },
);

brokerTest(
  "a channel that ended is replaced on its connection, which knows its queues still",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const link = linkTo(proxy);
    const first = await link.open();
    let asked = 0;
    const ask = () => Promise.resolve(asked++);
    await declareOnce(first, "q", ask);
    await first.publisher.close();
    const second = await link.open();
    assertEquals([second.transport === first.transport, second === first], [true, false]);
    await declareOnce(second, "q", ask);
    assertEquals([asked, proxy.total], [1, 1]);
    // A failure is no knowledge.
    await assertRejects(() => declareOnce(second, "r", () => Promise.reject(new Error("no"))));
    await declareOnce(second, "r", ask);
    assertEquals(asked, 2);
    await link.close();
  },
);

brokerTest(
  "a queue that refuses for long takes no more channels than a connection has",
  async () => {
    await using proxy = await Proxy.start(node.port);
    const link = linkTo(proxy, "?channel_max=8");
    const [full, free] = [uniqueName("full"), uniqueName("free")];
    await onChannel(node.url, async (channel) => {
      const bounded = { "x-max-length": 1, "x-overflow": "reject-publish" };
      await channel.queueDeclare(full, { durable: true }, bounded);
      await channel.queueDeclare(free, { durable: true });
    });
    const task = (routingKey: string) => ({
      exchange: "",
      routingKey,
      body: new Uint8Array(1),
      properties: {},
    });
    await (await link.open()).publisher.publish(task(full));
    const lost: unknown[] = [];
    for (let i = 0; i < 50; i++) {
      const { publisher } = await link.open();
      // An answer is waited for on each of them.
      publisher.hold((error) => lost.push(error));
      await publisher.publish(task(free));
      await assertRejects(() => publisher.publish(task(full)), NackError);
    }
    assertEquals([lost, proxy.total], [[], 1]);
    await link.close();
  },
);

brokerTest("tasks stay in their order while the connection has no room for all", async () => {
  await using proxy = await Proxy.start(node.port);
  // Slow enough that the first confirms come while others wait.
  const link = linkTo(proxy, "", { bytesPerSecond: 4_000_000 });
  const { publisher, transport } = await link.open();
  const queue = uniqueName("order");
  await onChannel(node.url, (channel) => channel.queueDeclare(queue, { durable: true }));
  const many = 80;
  let next = 0;
  const publish = (): Promise<void> => {
    const body = new TextEncoder().encode(`${next++}`.padEnd(20_000));
    return publisher.publish({ exchange: "", routingKey: queue, body, properties: {} });
  };
  // Each confirm makes room for one more, while the first ones may still wait to be sent.
  const first = Array.from({ length: many }, () => publish().then(publish));
  assert(transport.congested);
  await within("the confirms", Promise.all(first));
  const numbers: number[] = [];
  await onChannel(node.url, async (channel) => {
    await channel.basicConsume(queue, { noAck: true }, (message) => {
      numbers.push(Number(message.bodyString()));
    });
    await waitUntil("all of them", () => numbers.length === 2 * many);
  });
  assertEquals(numbers, Array.from({ length: 2 * many }, (_, i) => i));
  await link.close();
});
