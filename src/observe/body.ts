/** The body of a request, as a whole and within bounds. */
import { concat } from "@std/bytes/concat";
import type { IncomingMessage, ServerResponse } from "./http.ts";
import { Problem } from "./problem.ts";

/** What one request may take of the room that large ones share: small ones find some then. */
const SMALL_BYTES = 64 * 1024;

/** Memory for bodies, of all requests together. */
export class Room {
  readonly #most: number;
  #taken = 0;

  /** @param most bytes; a quarter of it is for small bodies alone */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether `bytes` more are there for a body that has `size` bytes with them. */
  take(bytes: number, size: number): boolean {
    const most = size <= SMALL_BYTES ? this.#most : this.#most * 3 / 4;
    if (this.#taken + bytes > most) return false;
    this.#taken += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#taken -= bytes;
  }
}

/** The client went away before its request was here. */
export class ClientGone extends Error {}

/** A body, and its share of the room until it is given back. */
export interface Body {
  readonly bytes: Uint8Array;
  /** Once, when the task is confirmed or given up. */
  release(): void;
}

/**
 * Reads a body to its end.
 *
 * @param most bytes
 * @throws {Problem} 413: it is larger; 429: bodies of others take all the room; 501: it is in a
 *   transfer coding that nobody here undoes
 * @throws {ClientGone}
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  most: number,
  room: Room,
): Promise<Body> {
  const coding = request.headers["transfer-encoding"] ?? "chunked";
  if (coding.trim().toLowerCase() !== "chunked") {
    throw new Problem(
      501,
      `a Transfer-Encoding must be chunked alone, and is ${JSON.stringify(coding.slice(0, 100))}`,
    );
  }
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > most) throw tooLarge(most, `${length}`);
  const knowsContinue = request.httpVersionMinor > 0;
  if (knowsContinue && request.headers.expect !== undefined) response.writeContinue();
  let size = 0;
  try {
    const chunks: Uint8Array[] = [];
    await new Promise<void>((resolve, reject) => {
      request.on("data", (chunk: Uint8Array) => {
        if (size + chunk.length > most) return reject(tooLarge(most, "more"));
        if (!room.take(chunk.length, size + chunk.length)) return reject(tooMuch());
        size += chunk.length;
        chunks.push(chunk);
      });
      request.on("end", resolve);
      // Whoever has sent it all and leaves at once is heard of as gone before the end.
      const gone = () => length > 0 && size === length ? resolve() : reject(new ClientGone());
      request.on("error", gone);
      request.on("close", gone);
    }).finally(() => request.removeAllListeners("data").removeAllListeners("end"));
    return { bytes: concat(chunks), release: () => room.giveBack(size) };
  } catch (error) {
    room.giveBack(size);
    throw error;
  }
}

function tooLarge(most: number, size: string): Problem {
  return new Problem(413, `a body must have at most ${most} bytes, and has ${size}`);
}

function tooMuch(): Problem {
  return new Problem(
    429,
    "bodies that wait for their confirm take all the memory there is for them",
    { "retry-after": "1" },
  );
}
