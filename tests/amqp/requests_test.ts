import { assertEquals } from "@std/assert";
import { Requests } from "../../src/amqp/requests.ts";

Deno.test("an answer that was read before the reading paused is taken at once", async () => {
  let looks = 0;
  const isDeaf = () => {
    if (++looks > 1_000) throw new Error("it looks again and again");
    return true;
  };
  const silences: Error[] = [];
  const requests = new Requests("the broker", (error) => silences.push(error), isDeaf);
  const reply = Promise.withResolvers<string>();
  const answer = requests.answer("basic.qos", reply.promise);
  reply.resolve("ok");
  assertEquals([await answer, silences], ["ok", []]);
});
