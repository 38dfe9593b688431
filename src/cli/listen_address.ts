/** Where a tool listens for HTTP: `[HOST:]PORT`. */
import { isLocalhost, LOOPBACKS } from "../amqp/loopback.ts";
import { UsageError } from "../errors.ts";
import type { ListenAddress } from "../observe/http.ts";
import { optional } from "../task/optional.ts";
import type { Flag } from "./flags.ts";
import type { Group } from "./groups.ts";

/** An option with such an address; without a HOST it is this machine alone. */
export function listenAddress(
  spec: { group: Group; help: string },
): Flag<ListenAddress | undefined> {
  return {
    ...spec,
    value: "[HOST:]PORT",
    fallback: () => undefined,
    parse: (texts, source) => {
      const given = texts.at(-1)!;
      const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^:\s]+):)?(\d{1,5})$/.exec(given);
      const port = Number(match?.[2] ?? NaN);
      const host = (match?.[1] ?? "localhost").replace(/^\[|\]$/g, "");
      const [hostname = host, otherwise] = isLocalhost(host) ? LOOPBACKS : [];
      if (port <= 65_535) return { hostname, port, ...optional("otherwise", otherwise) };
      throw new UsageError(
        `${source} must be a port, or an address and a port such as 0.0.0.0:9100 or [::]:9100, ` +
          `and is ${JSON.stringify(given)}`,
      );
    },
  };
}
