/** Looks at the ready messages of a lane without taking them. */

import { firstIndex } from "./first_index.ts";
import type { Message } from "../message/message.ts";

/** A lane as it is at this moment; it must not be kept. */
export interface LaneView {
  /** Messages that came back, the earliest last. All lie before the window. */
  readonly returned: readonly Message[];
  /** Messages in order of position; those before `head` are gone. */
  readonly window: readonly (Message | undefined)[];
  readonly head: number;
  /** What waits in the store comes after this position, and before the next one to be given away. */
  readonly last: number;
  readonly next: number;
  /** Reads up to `limit` of those that wait in the store, behind a position. */
  readonly read: (after: number, limit: number) => Message[];
}

/** Positions among which the last messages of a lane are looked for at once. */
const MOST_SPAN = 4_096;

/** The position of the first message, about. */
export function firstOf({ returned, window, head, last }: LaneView): number {
  return (returned.at(-1) ?? window[head])?.position ?? last + 1;
}

/** Up to `limit` messages behind a position, in order. */
export function messagesBehind(view: LaneView, position: number, limit: number): Message[] {
  const { returned, window, last, next } = view;
  const found: Message[] = [];
  for (let index = returned.length - 1; index >= 0 && found.length < limit; index--) {
    if (returned[index]!.position > position) found.push(returned[index]!);
  }
  for (let index = indexBehind(view, position); found.length < limit; index++) {
    const message = window[index];
    if (message === undefined) break;
    found.push(message);
  }
  for (let from = Math.max(position, last); found.length < limit && from < next - 1;) {
    const read = view.read(from, limit - found.length);
    if (read.length === 0) break;
    found.push(...read);
    from = read.at(-1)!.position;
  }
  return found;
}

/** Up to `limit` messages before a position, the last one first. */
export function messagesBefore(view: LaneView, position: number, limit: number): Message[] {
  const { returned, window, head, last, next } = view;
  const found: Message[] = [];
  let end = Math.min(position, next) - 1;
  for (let span = limit; end > last && found.length < limit;) {
    const start = Math.max(last, end - span);
    const read = view.read(start, end - start).filter((message) => message.position <= end);
    for (const message of read.reverse()) if (found.length < limit) found.push(message);
    end = start;
    span = Math.min(span * 2, MOST_SPAN);
  }
  for (let index = indexBehind(view, position - 1) - 1; found.length < limit; index--) {
    const message = index < head ? undefined : window[index];
    if (message === undefined) break;
    found.push(message);
  }
  for (const message of returned) {
    if (found.length >= limit) break;
    if (message.position < position) found.push(message);
  }
  return found;
}

/** The index in the window of the first message behind a position. */
function indexBehind(
  { window, head }: Pick<LaneView, "window" | "head">,
  position: number,
): number {
  return firstIndex(head, window.length, (index) => window[index]!.position > position);
}
