/** Accepting connections, for as long as a listener is open. */

import type { Bell } from "./bell.ts";
import type { Deadlines } from "../../time/deadlines.ts";

/** Milliseconds to wait when no connection can be accepted. */
const PAUSE_MS = 100;

/** Connections that are accepted before sockets are looked at again: much is done for each. */
const MOST_AT_ONCE = 16;

interface Listener<C> {
  accept(): Promise<C>;
}

export interface Acceptor<C> {
  /** Takes a connection; it must not throw. */
  onConnection: (connection: C) => void;
  /** Told why no connection can be accepted now: no file descriptor is left, for one. */
  onShortage?: (error: Error) => void;
  /** Where very many may come; absent: they are our own. */
  bell?: Bell;
}

/** Ends when the listener is closed. */
export async function acceptAll<C>(
  listener: Listener<C>,
  deadlines: Deadlines,
  { onConnection, onShortage, bell }: Acceptor<C>,
): Promise<void> {
  for (let count = 1;; count++) {
    try {
      // As long as somebody waits to be accepted nothing else is done meanwhile.
      onConnection(await listener.accept());
      if (bell !== undefined && count % MOST_AT_ONCE === 0) await bell.heard();
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
