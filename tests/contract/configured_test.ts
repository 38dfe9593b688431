import { startBroker } from "../support/embedded.ts";
import { PROMISES } from "./configured.ts";
import { Case } from "./case.ts";

for (const { promise, args, test } of PROMISES) {
  Deno.test(`broker: ${promise}`, async () => {
    await using broker = await startBroker({ args });
    await using t = new Case("broker", broker.port);
    await test(t);
  });
}
