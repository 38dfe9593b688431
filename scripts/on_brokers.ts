/** What the long tests (chaos, churn, clocks) have in common: their brokers and exit status. */
// deno-lint-ignore-file no-console
import { Connector } from "../src/amqp/connection.ts";
import { parseUrls } from "../src/amqp/url.ts";
import { createLogger } from "../src/observe/log.ts";
import { rabbitmqMissing } from "../tests/support/rabbitmq.ts";

/**
 * Runs a long test on the broker that `--broker` names, or on both kinds, as far as they are here.
 *
 * @param name of the test, for what it prints
 * @param chosen what the command line says, or undefined
 * @param test returns how much is wrong
 * @returns the exit status: 0 when nothing is wrong
 */
export async function onBrokers(
  name: string,
  chosen: unknown,
  test: (kind: string) => Promise<number>,
): Promise<number> {
  let faults = 0;
  for (const kind of chosen === undefined ? ["embedded", "rabbitmq"] : [String(chosen)]) {
    if (kind === "rabbitmq" && rabbitmqMissing) {
      console.log(`${name}: left out: ${rabbitmqMissing}`);
    } else faults += await test(kind);
  }
  return faults === 0 ? 0 : 1;
}

/** Connects a long test to its broker, without a log. */
export function connectorTo(url: string, name: string): Connector {
  return new Connector({
    endpoints: parseUrls(url, "url", { trust: {} }),
    identity: { name, version: "0" },
    log: createLogger({ name, write: () => {} }),
  });
}
