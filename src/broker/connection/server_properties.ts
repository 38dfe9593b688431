/** What the broker says of itself in connection.start. */

import type { Field, Table } from "../wire/fields.ts";

export function serverProperties(version: string): Table {
  const capabilities = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
  ];
  const texts: [string, string][] = [
    ["product", "workqueue broker"],
    ["version", version],
    ["platform", `Deno ${Deno.version.deno}`],
    ["information", "An embedded AMQP 0-9-1 broker for one machine"],
  ];
  return new Map<string, Field>([
    ...texts.map(([name, value]): [string, Field] => [name, { type: "longstr", value }]),
    [
      "capabilities",
      {
        type: "table",
        value: new Map(
          capabilities.map((name): [string, Field] => [name, { type: "bool", value: true }]),
        ),
      },
    ],
  ]);
}
