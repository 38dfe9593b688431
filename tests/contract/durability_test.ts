import { startBroker } from "../support/embedded.ts";
import { checkDurability } from "./durability.ts";

Deno.test("broker: What was confirmed survives kill -9", async (test) => {
  await using broker = await startBroker();
  await checkDurability("broker", test, broker);
});
