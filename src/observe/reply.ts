/** How answers leave: their headers, what a browser may see of them, and requests not read. */
import type { IncomingMessage, ServerResponse } from "./http.ts";
import { Outlet } from "./outlet.ts";

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: there is none. In parts: others may be sent the same ones. */
  readonly body?: string | readonly Uint8Array[];
  /** Its content type. */
  readonly type?: string;
}

/** For how long, and how much of it, the rest of a request is taken that nobody wants to read. */
const LINGER_MS = 2_000;
const MOST_LINGER_BYTES = 64 * 1024 * 1024;

/** A JSON value as an answer. */
export function jsonReply(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return { status, headers, type: "application/json", body: JSON.stringify(value) + "\n" };
}

/** Sends an answer; does nothing when the client has gone. */
export function sendReply(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers = {}, body, type }: Reply,
  isLast: boolean,
): void {
  if (response.destroyed || response.headersSent) return;
  const parts = typeof body === "string" ? [new TextEncoder().encode(body)] : body ?? [];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const unread = hasUnread(request);
  // Who waits for leave to send sends nothing, or sends it all.
  const lingers = unread && request.headers.expect === undefined;
  response.writeHead(status, {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
    ...(type === undefined ? {} : { "content-type": type }),
    ...(status === 204 || status === 304 ? {} : { "content-length": length }),
    ...(isLast || unread ? { connection: "close" } : {}),
  });
  const shown = request.method === "HEAD" ? [] : parts;
  if (!lingers && shown.length <= 1) return void response.end(shown[0]);
  const outlet = new Outlet(response);
  outlet.write(shown);
  if (!lingers) return outlet.end();
  // A connection that is closed while its client still sends takes the answer with it.
  if (shown.length === 0) response.flushHeaders();
  let size = 0;
  const timer = setTimeout(end, LINGER_MS);
  request.on("data", (chunk: Uint8Array) => {
    size += chunk.length;
    if (size > MOST_LINGER_BYTES) end();
  });
  request.once("end", end);
  request.once("close", end);

  function end(): void {
    clearTimeout(timer);
    request.removeAllListeners("data");
    outlet.end();
  }
}

function hasUnread({ headers, complete, readableEnded }: IncomingMessage): boolean {
  // Deno 2.4 never says that a request is complete.
  if (complete || readableEnded) return false;
  const { "content-length": length, "transfer-encoding": coding } = headers;
  return coding !== undefined || (length !== undefined && length !== "0");
}
