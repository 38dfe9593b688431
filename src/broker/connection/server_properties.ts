/** What the broker says of itself in connection.start. */

import { OUR_BROKER } from "../../amqp/protocol.ts";
import type { Field, Table } from "../wire/fields.ts";

/** Where the broker's page is, for programs of this machine, which need no token there. */
export interface PageAddress {
  /** "http://127.0.0.1:9180". */
  readonly url: string;
  /** The API says the same: so nobody takes another broker's page for it. */
  readonly instance: string;
}

export function serverProperties(version: string, page: PageAddress | undefined): Table {
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
    ["product", OUR_BROKER],
    ["version", version],
    ["platform", `Deno ${Deno.version.deno}`],
    ["information", "An embedded AMQP 0-9-1 broker for one machine"],
    ...(page === undefined ? [] : Object.entries({ page: page.url, instance: page.instance })),
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
