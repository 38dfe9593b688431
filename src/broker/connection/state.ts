/**
 * States of a connection after its handshake, each of which can be followed by every later one:
 * running; closing, when we sent connection.close and wait for close-ok; leaving, when the client
 * sent connection.close: it gets close-ok once the queues are gone that it had to itself, and is to
 * close the socket; ended.
 */

/** In the order in which they come. */
const STATES = ["running", "closing", "leaving", "ended"] as const;
export type State = typeof STATES[number];

export function isLater(state: State, than: State): boolean {
  return STATES.indexOf(state) > STATES.indexOf(than);
}
