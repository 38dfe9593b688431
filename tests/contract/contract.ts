/**
 * The registry of the contract suite: each case runs against a private RabbitMQ node and against
 * this project's broker, and states what a client can observe. A case sees a `Case`: the broker's
 * port, connections that are closed after it, names that are deleted after it.
 */
import { sharedBroker } from "../support/embedded.ts";
import { rabbitmqMissing, sharedRabbitmq } from "../support/rabbitmq.ts";
import { unless } from "../support/unless.ts";
import { type BrokerName, Case } from "./case.ts";

export { type BrokerName, Case } from "./case.ts";

interface Target {
  readonly name: BrokerName;
  readonly port: number;
  /** Why its cases are ignored. */
  readonly missing: string | undefined;
}

export interface ContractOptions {
  /** The one broker that the case is about; its name says why the other one differs. */
  only?: BrokerName;
}

const targets = await findTargets();

/**
 * CONTRACT_BROKER=RabbitMQ or =broker runs one side alone.
 */
async function findTargets(): Promise<readonly Target[]> {
  const wanted = Deno.env.get("CONTRACT_BROKER");
  const targets: Target[] = [];
  if (wanted !== "broker") {
    const node = await sharedRabbitmq();
    targets.push({ name: "RabbitMQ", port: node.port, missing: rabbitmqMissing });
  }
  if (wanted !== "RabbitMQ") {
    targets.push({ name: "broker", port: (await sharedBroker()).port, missing: undefined });
  }
  return targets;
}

/** States one promise that both brokers keep. */
export function contract(
  promise: string,
  test: (t: Case) => Promise<void>,
  options: ContractOptions = {},
): void {
  for (const target of targets) {
    if (options.only && options.only !== target.name) continue;
    Deno.test({
      ...unless(target.missing, `${target.name}: ${promise}`),
      async fn() {
        await using t = new Case(target.name, target.port);
        await test(t);
      },
    });
  }
}
