import { assertEquals, assertRejects } from "@std/assert";
import { rabbitmqTest, sharedRabbitmq } from "./rabbitmq.ts";

const shared = await sharedRabbitmq();

rabbitmqTest("the shared node evaluates Erlang", async () => {
  assertEquals(await shared.eval("1 + 1."), "2");
  await assertRejects(() => shared.eval("erlang:error(bad)."), Error, "bad");
  await assertRejects(() => shared.eval("foo(."), Error, "foo(. failed");
});
