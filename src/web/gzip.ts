/**
 * Compression of what many are sent: done once for all of them, by ourselves. What Deno 2.4 does by
 * itself for who accepts it holds small answers back.
 */
import type { IncomingMessage } from "../observe/http.ts";
import { each } from "./pieces.ts";

/** Of a stream: nothing is told of time and system. */
const STREAM_HEADER = new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

/** Fast: events are made each second. */
const STREAM_LEVEL = 1;

export class Gzip {
  readonly #zlib: typeof import("node:zlib");

  private constructor(zlib: typeof import("node:zlib")) {
    this.#zlib = zlib;
  }

  static async load(): Promise<Gzip> {
    return new Gzip(await import("node:zlib"));
  }

  compress(bytes: Uint8Array): Uint8Array {
    return this.#zlib.gzipSync(bytes, { level: 9 });
  }

  /** What a stream begins with. It has no end, and no check sum: each has heard something else. */
  get streamHeader(): Uint8Array {
    return STREAM_HEADER;
  }

  /** A piece of a stream, which can be read as soon as it is there, whatever came before it. */
  piece(bytes: Uint8Array): Uint8Array {
    const finishFlush = this.#zlib.constants.Z_FULL_FLUSH;
    return this.#zlib.deflateRawSync(bytes, { level: STREAM_LEVEL, finishFlush });
  }

  async pieces(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const pieces: Uint8Array[] = [];
    await each(parts, (part) => pieces.push(this.piece(part)));
    return pieces;
  }
}

/** Whether a client says that it can read it. */
export function acceptsGzip({ headers }: IncomingMessage): boolean {
  const accepted = headers["accept-encoding"];
  const text = Array.isArray(accepted) ? accepted.join() : accepted ?? "";
  return text.split(",").some((coding) => {
    const [name, ...parameters] = coding.toLowerCase().split(";").map((part) => part.trim());
    return name === "gzip" && !parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter));
  });
}
