/** Connects to the first of several addresses that answers, once or again and again. */
import { ConnectionError, ToolError } from "../errors.ts";
import { formatDuration } from "../task/duration.ts";
import type { Logger } from "../observe/log.ts";
import { sleep } from "../time/sleep.ts";
import type { ClientIdentity } from "./client_identity.ts";
import type { MessageTracing } from "./message_tracing.ts";
import { Transport } from "./transport.ts";
import { type Endpoint, redact } from "./url.ts";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

/**
 * How long to wait before attempt `n + 1`, in milliseconds: exponential with full jitter, so that
 * the workers of a restarted broker do not come back all at once.
 *
 * @param attempt 0 after the first failure
 * @param random from 0 to 1
 */
export function reconnectPause(attempt: number, random: number): number {
  return random * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 20));
}

export interface ConnectorOptions {
  /** At least one; tried in turn. */
  readonly endpoints: readonly Endpoint[];
  readonly identity: ClientIdentity;
  readonly log: Logger;
  /** What is published is traced. */
  readonly tracing?: MessageTracing | undefined;
  /** From 0 to 1; default Math.random. */
  readonly random?: () => number;
}

export class Connector {
  readonly #options: ConnectorOptions;
  /** Where the next round begins: behind the endpoint used last. */
  #next = 0;
  /** Rounds or sessions that failed since the last time things went well. */
  #failures = 0;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /**
   * One round: tries every endpoint once.
   *
   * @throws {ConnectionError} none answered: all they said, with the exit status of the last
   *   temporary refusal, or else of the last fatal one
   * @throws {InputError} a certificate file cannot be read
   */
  async connect(): Promise<Transport> {
    const { endpoints, identity, tracing } = this.#options;
    let failure: ConnectionError | undefined;
    const said: string[] = [];
    for (let i = 0; i < endpoints.length; i++) {
      const endpoint = endpoints[this.#next++ % endpoints.length]!;
      try {
        const transport = await Transport.open(endpoint, identity);
        transport.tracing = tracing;
        return transport;
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        said.push(error.message);
        if (failure === undefined || failure.fatal || !error.fatal) failure = error;
      }
    }
    if (said.length === 1) throw failure!;
    const { exitCode, fatal } = failure!;
    throw new ConnectionError(said.join("; "), exitCode, fatal, { cause: failure });
  }

  /**
   * Rounds without end, with a growing pause between them, until one works or `signal` aborts.
   *
   * @param tolerant also wait when every endpoint refuses for good (login, vhost, certificate) or a
   *   certificate file cannot be read: whoever replaces it may not have finished
   * @returns undefined when the signal aborted
   * @throws {ConnectionError | InputError} for good, and `tolerant` is false
   */
  async connectForever(signal: AbortSignal, tolerant: boolean): Promise<Transport | undefined> {
    while (!signal.aborted) {
      try {
        return await unlessAborted(this.connect(), signal, (late) => late.shutdown());
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        const fatal = !(error instanceof ConnectionError) || error.fatal;
        if (fatal && !tolerant) throw error;
        await this.pause(error.message, signal);
      }
    }
    return undefined;
  }

  /** Waits before the next round and says so. Grows with every call until `succeeded`. */
  async pause(why: string, signal: AbortSignal): Promise<void> {
    const delay = reconnectPause(this.#failures++, (this.#options.random ?? Math.random)());
    this.#options.log.warn(`${why}; trying again in ${formatDuration(delay)}`, {}, {
      reason: why,
      pause_ms: Math.round(delay),
    });
    await sleep(delay, signal);
  }

  /** Things went well: the next pause is a short one again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** How many endpoints there are. */
  get addresses(): number {
    return this.#options.endpoints.length;
  }

  /** The endpoints for people. */
  describe(): string {
    return this.#options.endpoints.map(redact).join(", ");
  }
}

/** Resolves with undefined when the signal aborts first; a later value is handed to `discard`. */
async function unlessAborted<T extends object>(
  promise: Promise<T>,
  signal: AbortSignal,
  discard: (value: T) => void,
): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = () => resolve(undefined);
  signal.addEventListener("abort", onAbort);
  try {
    const value = await Promise.race([promise, aborted]);
    if (value === undefined) promise.then(discard, () => {});
    return value;
  } finally {
    // The signal lives as long as the worker.
    signal.removeEventListener("abort", onAbort);
  }
}
