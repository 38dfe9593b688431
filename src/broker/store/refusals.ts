/**
 * Changes that the store refuses for what is in them. They must not stop the commits of everybody:
 * they are left out, and whoever asked for one loses the connection before any answer to it leaves.
 */

import type { Content } from "../message/content.ts";
import type { Message } from "../message/message.ts";

/** Who asked for a change. */
export interface Author {
  /** What the change takes the place of: that stays when the change is refused. */
  readonly source?: Source;
  /** Something that it asked for is not stored, and never will be. */
  unstored(reason: string): void;
}

/** A message that goes when another one is stored. */
export interface Source {
  readonly message: Message;
  /** Of the message, which may not have it any more. */
  readonly content: Content;
}

/** What a statement is about. */
export interface Request {
  author: Author | undefined;
  /** In words. */
  what: string;
  /** Takes it back in memory, once the others are stored. */
  undo?: () => void;
}

/** Runs one statement; a refusal is noted. @returns whether it was done */
export type RunOne = (request: Request, run: () => void) => boolean;

/** SQLite's words for data that it does not take, whatever state the disk is in. */
const REFUSALS = /constraint failed|datatype mismatch|too big|out of range|cannot be bound/;

/** Whether a statement failed for its data, and would fail again. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return REFUSALS.test(error.message) || error instanceof TypeError || error instanceof RangeError;
}

interface Refusal extends Request {
  reason: string;
}

/** Refusals that nobody was told about yet. */
export class Refusals {
  readonly #onRefusal: (what: string, reason: string) => void;
  #waiting: Refusal[] = [];

  /** @param onRefusal told of each, for the log */
  constructor(onRefusal: (what: string, reason: string) => void) {
    this.#onRefusal = onRefusal;
  }

  add(request: Request, error: unknown): void {
    this.#waiting.push({ ...request, reason: (error as Error).message });
  }

  /** Tells everybody whom it concerns. */
  tell(): void {
    for (const { author, what, reason, undo } of this.#waiting.splice(0)) {
      this.#onRefusal(what, reason);
      author?.unstored(`${what} cannot be stored`);
      undo?.();
    }
  }
}
