/** What a publisher may say in the properties of a message, and what of it is wrong. */

import type { ContentHeader } from "./content_header.ts";
import { preconditionFailed } from "../wire/faults.ts";

/** @param user who is logged in @throws {Fault} precondition-failed */
export function checkProperties(header: ContentHeader, user: string): void {
  const deliveryMode = header.deliveryMode ?? 1;
  if (deliveryMode !== 1 && deliveryMode !== 2) {
    throw preconditionFailed(`invalid message: {delivery_mode_unknown,${deliveryMode}}`);
  }
  const userId = header.userId;
  if (userId !== undefined && userId !== user) {
    throw preconditionFailed(
      `user_id property set to '${userId}' but authenticated user was '${user}'`,
    );
  }
}

/** Milliseconds, or undefined. @throws {Fault} precondition-failed */
export function expirationOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^(\+?\d+|-0+)$/.test(text) && Number(text) <= 315_360_000_000) return Math.abs(Number(text));
  throw preconditionFailed(`invalid expiration '${text}': ${expirationReason(text)}`);
}

function expirationReason(text: string): string {
  if (/^-\d+$/.test(text)) return `{value_negative,${text}}`;
  if (/^\d+$/.test(text)) return `{value_too_large,${text}}`;
  const digits = /^[+-]?\d+/.exec(text)?.[0] ?? "";
  return digits === "" ? "no_integer" : `{leftover_string,"${text.slice(digits.length)}"}`;
}
