/**
 * Milliseconds since the epoch by a clock that nobody sets: as the machine's was when the process
 * began, and what has passed since. Deadlines, heartbeats and times to live follow it, so that a
 * machine whose clock is set back or forward neither stops nor ends anything.
 *
 * What is stored is in this clock too. After a restart it is what the machine's clock then says: a
 * message that waits lives shorter or longer by what that was set meanwhile.
 */
export function now(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
