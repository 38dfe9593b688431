import { sharedBroker } from "../support/embedded.ts";
import { rabbitmqMissing, sharedRabbitmq } from "../support/rabbitmq.ts";
import { compare } from "./twins.ts";

/** `deno task twins` tells others. */
const SEEDS = [3, 126, 134, 144];

const wanted = Deno.env.get("CONTRACT_BROKER") === undefined;
const broker = rabbitmqMissing || !wanted ? undefined : await sharedBroker();
const node = rabbitmqMissing || !wanted ? undefined : await sharedRabbitmq();

for (const seed of SEEDS) {
  Deno.test({
    name: `both brokers show the same of a random history (seed ${seed})` +
      (rabbitmqMissing ? ` (ignored: ${rabbitmqMissing})` : ""),
    ignore: node === undefined,
    fn: () => compare(seed, broker!.port, node!.port),
  });
}
