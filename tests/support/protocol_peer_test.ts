import { assertEquals } from "@std/assert";
import { openPeer } from "./protocol_peer.ts";
import { rabbitmqTest, sharedRabbitmq } from "./rabbitmq.ts";
import { uniqueName } from "./temp.ts";
import { Typed } from "./wire.ts";

const shared = await sharedRabbitmq();

rabbitmqTest("a peer speaks to a real broker: declare, publish, get, close", async () => {
  await using peer = await openPeer(shared.port, { frameMax: 4096 });
  const channel = await peer.open();
  const queue = uniqueName();
  await channel.call("queue.declare", { queue, exclusive: true });
  const body = "x".repeat(10_000);
  const headers = {
    int: 1,
    long: 2 ** 40,
    text: "t",
    list: [true, null],
    nested: { d: 0.5 },
    byte: new Typed("b", -1),
  };
  await channel.publish({ routingKey: queue }, body, { headers, deliveryMode: 2, messageId: "m" });
  await channel.send("basic.get", { queue, noAck: true });
  const message = await channel.expectContent("basic.get-ok");
  assertEquals(message.text, body);
  assertEquals(message.bodyFrames, [4088, 4088, 1824]);
  assertEquals(message.properties, {
    headers: { ...headers, byte: -1 },
    deliveryMode: 2,
    messageId: "m",
  });
  await channel.send("queue.declare", { queue: "amq.mine" });
  await channel.expectClose(403, /^ACCESS_REFUSED - /);
  await peer.close();
});
