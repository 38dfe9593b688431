import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { rabbitmqTest, sharedRabbitmq, startRabbitmq } from "./rabbitmq.ts";

const shared = await sharedRabbitmq();

rabbitmqTest("the shared node answers rabbitmqctl", async () => {
  assertMatch(await shared.rabbitmqctl("version"), /^\d+\.\d+/);
  assertEquals(await shared.eval("1 + 1."), "2");
});

rabbitmqTest(
  "a private node takes configuration, survives kill and restart, and is gone after",
  async () => {
    let port: number;
    {
      await using node = await startRabbitmq({ config: { consumer_timeout: 60000 } });
      port = node.port;
      assertStringIncludes(
        await node.eval("application:get_env(rabbit, consumer_timeout)."),
        "60000",
      );
      await node.eval(`rabbit_amqqueue:declare({resource, <<"/">>, queue, <<"kept">>},
      true, false, [], none, <<"test">>).`);
      await node.kill();
      assertEquals(node.running, false);
      await node.restart();
      assertStringIncludes(await node.rabbitmqctl("list_queues", "name"), "kept");
    }
    const refused = await Deno.connect({ hostname: "127.0.0.1", port }).then(
      (conn) => conn.close(),
      (error) => error instanceof Deno.errors.ConnectionRefused,
    );
    assertEquals(refused, true);
  },
);
