import { sharedBroker } from "../support/embedded.ts";
import { rabbitmqMissing, sharedRabbitmq } from "../support/rabbitmq.ts";
import { unless } from "../support/unless.ts";
import { compare } from "./twins.ts";

/** `deno task twins` tells others. */
const SEEDS = [3, 126, 134, 144];

const one = Deno.env.get("CONTRACT_BROKER");
const missing = rabbitmqMissing ?? (one === undefined ? undefined : `only ${one} is wanted`);
const broker = missing === undefined ? await sharedBroker() : undefined;
const node = missing === undefined ? await sharedRabbitmq() : undefined;

for (const seed of SEEDS) {
  Deno.test({
    ...unless(missing, `both brokers show the same of a random history (seed ${seed})`),
    fn: () => compare(seed, broker!.port, node!.port),
  });
}
