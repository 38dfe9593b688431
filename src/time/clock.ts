import { turnTime } from "./turn_time.ts";

/**
 * Milliseconds since the epoch by a clock that nobody sets: as the machine's was when the process
 * began, and what has passed since. Deadlines, heartbeats and times to live follow it, so that a
 * machine whose clock is set back or forward neither stops nor ends anything.
 *
 * What is stored is a time of the machine's clock, as far as this process knows it: see
 * {@link noticeClockSet}. A board without a battery starts with a wrong one, and is set right later.
 */
export function now(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}

/** {@link now}, read once for much that happens at once: {@link turnTime}. */
export function roughlyNow(): number {
  return Math.floor(performance.timeOrigin + turnTime());
}

/** Milliseconds by which the machine's clock may differ before that counts as set. */
const SLACK_MS = 500;

let shift = 0;

/** Milliseconds that the machine's clock is ahead of {@link now}, as last seen. */
export function clockShift(): number {
  return shift;
}

/** Takes note of the machine's clock. @returns whether it was set since the last time */
export function noticeClockSet(): boolean {
  const ahead = Date.now() - now();
  if (Math.abs(ahead - shift) < SLACK_MS) return false;
  shift = Math.abs(ahead) < SLACK_MS ? 0 : ahead;
  return true;
}
