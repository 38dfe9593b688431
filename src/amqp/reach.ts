/**
 * Gets a connection to an endpoint whose name may have several addresses. Each has a share of the
 * time; one that is silent for longer is not given up, but the next one is tried beside it.
 */
import { ConnectionError, EXIT } from "../errors.ts";
import { formatDuration } from "../task/duration.ts";
import { deadline } from "../time/deadline.ts";
import { isLocalhost, LOOPBACKS } from "./loopback.ts";
import { after, type Timer } from "../time/timer.ts";
import { type Endpoint, redact } from "./url.ts";

/** A try to connect, as it goes on. */
export interface ConnectAttempt {
  /** Name or address to connect to. */
  readonly host: string;
  /** The address that has taken the connection. Written by whoever connects. */
  taken?: string;
  /** Aborts when another attempt has won, or the time is over. */
  readonly signal: AbortSignal;
}

type AttemptEnd<T> = { readonly won: T } | {
  readonly attempt: ConnectAttempt;
  readonly error: unknown;
};

/** The attempt that came furthest of those that failed, and what was said there. */
interface Failure {
  readonly attempt: ConnectAttempt;
  readonly error: ConnectionError;
}

/** What a name gets of the time before its addresses are looked up one by one. */
const FIRST_SHARE = 1 / 3;

/**
 * The first connection that `open` brings about.
 *
 * @param open may settle late, or never, when its signal has aborted
 * @param discard gets what was opened in vain
 * @throws {ConnectionError} what was said at the address that came furthest, or nobody answered
 * @throws {ToolError} at once: anything else that `open` throws
 */
export async function reach<T>(
  endpoint: Endpoint,
  open: (attempt: ConnectAttempt) => Promise<T>,
  discard: (late: T) => void,
): Promise<T> {
  const over = new AbortController();
  let failure: Failure | undefined;
  const search = tryAll(endpoint, open, discard, over, (furthest) => failure = furthest);
  try {
    return await deadline(
      search,
      endpoint.connectionTimeout,
      () => new ConnectionError(overdue(endpoint, failure)),
      discard,
    );
  } catch (error) {
    over.abort(new ConnectionError("the time is over"));
    throw error;
  }
}

function overdue(endpoint: Endpoint, failure: Failure | undefined): string {
  const prefix = `cannot connect to ${redact(endpoint)}: `;
  const silence = `${prefix}no answer within ${formatDuration(endpoint.connectionTimeout)}`;
  if (failure === undefined) return silence;
  const { attempt, error } = failure;
  return `${silence}; at ${attempt.taken ?? attempt.host}: ${error.message.replace(prefix, "")}`;
}

/**
 * @param over ends what goes on, also when one has won
 * @param onFailure told of the failure that came furthest so far
 */
async function tryAll<T>(
  endpoint: Endpoint,
  open: (attempt: ConnectAttempt) => Promise<T>,
  discard: (late: T) => void,
  over: AbortController,
  onFailure: (furthest: Failure) => void,
): Promise<T> {
  const { signal } = over;
  const running = new Set<Promise<AttemptEnd<T>>>();
  let failure: Failure | undefined;
  let winner: T | undefined;

  function begin(attempt: ConnectAttempt): void {
    const end: Promise<AttemptEnd<T>> = open(attempt).then((won) => ({ won }), (error) => {
      running.delete(end);
      return { attempt, error };
    });
    running.add(end);
  }

  /** Until one has won or failed, or the time is over. */
  async function watch(ms: number): Promise<void> {
    const end = await firstWithin(running, ms);
    if (end === undefined) return;
    if ("won" in end) {
      winner = end.won;
      return;
    }
    const { attempt, error } = end;
    if (!(error instanceof ConnectionError)) throw error;
    // That broker has seen the login. Another address is most likely another way to it.
    if (error.exitCode === EXIT.noPermission) throw error;
    const further = failure?.attempt.taken === undefined && attempt.taken !== undefined;
    if (failure === undefined || further) onFailure(failure = { attempt, error });
  }

  try {
    for await (const [attempt, shareMs] of attemptsAt(endpoint, signal, () => !failure)) {
      if (signal.aborted) break;
      begin(attempt);
      await watch(shareMs);
      if (winner !== undefined) return winner;
    }
    while (running.size > 0) {
      await watch(Infinity);
      if (winner !== undefined) return winner;
    }
    throw failure!.error;
  } finally {
    // Nearly always there is but the winner, and the first event of a process takes 0.6 ms.
    if (running.size > (winner === undefined ? 0 : 1)) {
      for (const end of running) {
        end.then((late) => "won" in late && late.won !== winner && discard(late.won));
      }
      over.abort(new ConnectionError("another address was faster"));
    }
  }
}

/**
 * @param pending nothing has failed yet
 * @returns attempts, each with the milliseconds after which the next one may begin
 */
async function* attemptsAt(
  { host, connectionTimeout, tls, trust }: Endpoint,
  signal: AbortSignal,
  pending: () => boolean,
): AsyncGenerator<[ConnectAttempt, number]> {
  const isLocal = isLocalhost(host);
  // Deno shows a client certificate only to a host that it looks up by itself.
  const byName = !isLocal || (tls && trust.certfile !== undefined);
  const first: ConnectAttempt = { host, signal };
  if (byName) {
    const isOne = isAddress(host);
    yield [first, isOne ? Infinity : connectionTimeout * FIRST_SHARE];
    // The system has tried every address until one took the connection.
    const refused = !pending() && first.taken === undefined;
    if (isOne || (refused && !isLocal)) return;
  }
  const addresses = (isLocal ? LOOPBACKS : await lookUp(host))
    .filter((address) => address !== first.taken);
  const left = byName ? 1 - FIRST_SHARE : 1;
  for (const address of addresses) {
    yield [{ host: address, signal }, connectionTimeout * left / addresses.length];
  }
}

/** Whether it is an address, and no name. */
export function isAddress(host: string): boolean {
  return /^[\d.]+$|:/.test(host);
}

/** All addresses that the system knows for a name; none when it cannot tell. */
async function lookUp(host: string): Promise<string[]> {
  const { lookup } = await import("node:dns"); // rarely needed, and not for free
  return await new Promise((resolve) => {
    lookup(host, { all: true }, (error, found) => {
      resolve(error ? [] : [...new Set(found.map(({ address }) => address))]);
    });
  });
}

/** The first to resolve, or undefined when none does within so many milliseconds. */
async function firstWithin<T>(promises: Iterable<Promise<T>>, ms: number): Promise<T | undefined> {
  if (ms === Infinity) return await Promise.race(promises);
  let timer: Timer | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = after(ms, () => resolve(undefined));
  });
  try {
    return await Promise.race([...promises, timeout]);
  } finally {
    timer?.cancel();
  }
}
