/** Accepting connections, for as long as a listener is open. */

import type { Deadlines } from "../../time/deadlines.ts";

/** Milliseconds to wait when no connection can be accepted. */
const PAUSE_MS = 100;

interface Listener<C> {
  accept(): Promise<C>;
}

export interface Acceptor<C> {
  /** Takes a connection; it must not throw. */
  onConnection: (connection: C) => void;
  /** Told why no connection can be accepted now: no file descriptor is left, for one. */
  onShortage?: (error: Error) => void;
}

/** Ends when the listener is closed. */
export async function acceptAll<C>(
  listener: Listener<C>,
  deadlines: Deadlines,
  { onConnection, onShortage }: Acceptor<C>,
): Promise<void> {
  for (;;) {
    try {
      onConnection(await listener.accept());
    } catch (error) {
      if (isClosed(error)) return;
      onShortage?.(error as Error);
      // Trying again at once would be a busy loop.
      await new Promise<void>((resolve) => deadlines.after(PAUSE_MS, resolve));
    }
  }
}

/** As Deno's own iteration over a listener tells it. */
function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}
