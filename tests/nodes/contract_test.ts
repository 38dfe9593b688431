/** What the contract says of a broker that is limited, or killed and started again: on RabbitMQ. */
import { PROMISES } from "../contract/configured.ts";
import { Case } from "../contract/case.ts";
import { checkDurability } from "../contract/durability.ts";
import { rabbitmqTest, startRabbitmq } from "../support/rabbitmq.ts";

rabbitmqTest("RabbitMQ: Limits that are configured are kept", async (t) => {
  await using node = await startRabbitmq({
    config: { consumer_timeout: 1000, max_message_size: 1000 },
    advanced: "[{rabbit, [{channel_tick_interval, 200}, " +
      "{dead_letter_worker_publisher_confirm_timeout, 500}]}].",
  });
  for (const { promise, prepare, test } of PROMISES) {
    await t.step(promise, async () => {
      await prepare?.(node);
      await using c = new Case("RabbitMQ", node.port);
      await test(c);
    });
  }
});

rabbitmqTest("RabbitMQ: What was confirmed survives kill -9", async (test) => {
  await using node = await startRabbitmq();
  await checkDurability("RabbitMQ", test, node, () => node.saveQuorumQueues());
});
