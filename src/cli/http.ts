/** `new_task --http`: takes tasks over HTTP until it is ended. */
import type { Connector } from "../amqp/connection.ts";
import type { QueuePolicy } from "../amqp/declare.ts";
import { EXIT, UsageError } from "../errors.ts";
import { HttpService } from "../front/http/service.ts";
import { SecretFile } from "../handlers/secret_file.ts";
import { isLoopbackName } from "../observe/gate.ts";
import type { HttpInput } from "./http_flags.ts";
import { type Host, VERSION } from "./main.ts";
import { onSignals } from "./signals.ts";

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
  if (tokenFile === undefined && !isLoopbackName(address.hostname)) {
    throw new UsageError(
      `--http needs --token-file on anything but this machine, and has none for ${address.hostname}`,
    );
  }
  const tokens = tokenFile === undefined
    ? undefined
    : new SecretFile(tokenFile, "the token file", parseTokens, (message) => host.log.warn(message));
  await using service = new HttpService({
    ...input,
    connector,
    queues,
    timeoutMs,
    tokens: tokens && (() => tokens.get()),
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

/** @throws {Error} the end of a sentence */
function parseTokens(lines: readonly string[]): readonly string[] {
  const tokens = lines.map((line) => line.trim()).filter((line) => line !== "");
  if (tokens.length > 0 && tokens.every((token) => /^[\x21-\x7e]+$/.test(token))) return tokens;
  throw new Error("must hold a token of visible ASCII on each line, and does not");
}
