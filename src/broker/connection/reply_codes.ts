/** Reply codes and texts of connection.close and channel.close (AMQP 0-9-1 section 1.2). */

import { SHORT_STRING_BYTES } from "../../task/short_string.ts";
import type { Fault, FaultKind } from "../wire/faults.ts";

interface Reply {
  code: number;
  name: string;
  /** Whether it ends the connection and not only the channel. */
  hard: boolean;
}

const REPLIES: Record<FaultKind, Reply> = {
  "content-too-large": { code: 311, name: "CONTENT_TOO_LARGE", hard: false },
  "connection-forced": { code: 320, name: "CONNECTION_FORCED", hard: true },
  "access-refused": { code: 403, name: "ACCESS_REFUSED", hard: false },
  "not-found": { code: 404, name: "NOT_FOUND", hard: false },
  "resource-locked": { code: 405, name: "RESOURCE_LOCKED", hard: false },
  "precondition-failed": { code: 406, name: "PRECONDITION_FAILED", hard: false },
  "frame-error": { code: 501, name: "FRAME_ERROR", hard: true },
  "syntax-error": { code: 502, name: "SYNTAX_ERROR", hard: true },
  "command-invalid": { code: 503, name: "COMMAND_INVALID", hard: true },
  "channel-error": { code: 504, name: "CHANNEL_ERROR", hard: true },
  "unexpected-frame": { code: 505, name: "UNEXPECTED_FRAME", hard: true },
  "resource-error": { code: 506, name: "RESOURCE_ERROR", hard: true },
  "not-allowed": { code: 530, name: "NOT_ALLOWED", hard: true },
  "not-implemented": { code: 540, name: "NOT_IMPLEMENTED", hard: true },
  "internal-error": { code: 541, name: "INTERNAL_ERROR", hard: true },
};

/** Octets of a reply text: it is a short string. */
export const LONGEST_TEXT = SHORT_STRING_BYTES;

const ELLIPSIS = "...";

const encoder = new TextEncoder();

/** What a client is told, and whether its connection ends with the channel. */
export function replyOf(fault: Fault): { code: number; text: string; hard: boolean } {
  const { code, name, hard } = REPLIES[fault.kind];
  return { code, text: shorten(`${name} - ${fault.message}`), hard };
}

/** Cuts a text between two characters if it is too long for a reply. */
export function shorten(text: string): string {
  const octets = new Uint8Array(LONGEST_TEXT);
  if (encoder.encodeInto(text, octets).read === text.length) return text;
  const { read } = encoder.encodeInto(text, octets.subarray(ELLIPSIS.length));
  return text.slice(0, read) + ELLIPSIS;
}
