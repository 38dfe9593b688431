/** `new_task --http`: takes tasks over HTTP until it is ended. */
import type { Connector } from "../amqp/connection.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import { EXIT } from "../errors.ts";
import { HttpService } from "../front/http/service.ts";
import type { HttpInput } from "./http_flags.ts";
import { type Host, VERSION } from "./main.ts";
import { onSignals } from "./signals.ts";
import { readTokens } from "./tokens.ts";

export interface HttpOrder {
  readonly input: HttpInput;
  /** At least one; the first is for tasks that name none. */
  readonly queues: readonly QueuePolicy[];
  /** How long a task may take to its confirm, in milliseconds. */
  readonly timeoutMs: number;
  readonly quiet: boolean;
}

/**
 * Serves until a signal ends it.
 *
 * @throws {ToolError} the options or the token file cannot be used; nothing can listen there; or
 *   the broker refuses the login or a queue
 */
export async function runHttp(
  host: Host,
  connector: Connector,
  { input, queues, timeoutMs, quiet }: HttpOrder,
): Promise<number> {
  const { address, tokenFile } = input;
  const tokens = readTokens(host, address, tokenFile);
  await using service = new HttpService({
    ...input,
    connector,
    queues,
    timeoutMs,
    tokens,
    version: VERSION,
    log: host.log,
  });
  const ended = Promise.withResolvers<void>();
  const signals = onSignals({ end: () => ended.resolve() });
  try {
    const url = await service.start();
    if (!quiet) host.print(` [*] Taking tasks at ${url}/tasks. To exit press CTRL+C\n`);
    await ended.promise;
    await service.drain();
  } finally {
    signals.dispose();
  }
  return EXIT.ok;
}
