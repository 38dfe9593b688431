/** How the commands of `worker` that look at queues reach the broker. */
import { Connector } from "../amqp/connection.ts";
import { type CONNECTION_FLAGS, readEndpoints } from "./connection_flags.ts";
import type { Values } from "./flags.ts";
import { type Host, VERSION } from "./main.ts";

/** @throws {UsageError | InputError} */
export function connectorOf(values: Values<typeof CONNECTION_FLAGS>, host: Host): Connector {
  return new Connector({
    endpoints: readEndpoints(values, host),
    identity: { name: `worker ${Deno.pid}`, version: VERSION },
    log: host.log,
  });
}
