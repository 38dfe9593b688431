/** The files of the page, as they are sent. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "../observe/http.ts";
import type { Reply } from "../observe/reply.ts";
import { acceptsGzip, type Gzip } from "./gzip.ts";

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly body: string;
}

/** Nothing but what is served here may be loaded, run, asked or framed. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Encoded {
  readonly tag: string;
  readonly plain: Uint8Array;
  readonly gzip: Uint8Array;
}

export class Assets {
  readonly #files: Readonly<Record<string, Asset>>;
  readonly #gzip: () => Gzip;
  /** Of those that somebody has asked for. */
  readonly #encoded = new Map<Asset, Encoded>();

  /** @param files by their paths; "/" is the page */
  constructor(files: Readonly<Record<string, Asset>>, gzip: () => Gzip) {
    this.#files = files;
    this.#gzip = gzip;
  }

  has(path: string): boolean {
    return Object.hasOwn(this.#files, path);
  }

  /** Who has the same already is told so. */
  reply(path: string, request: IncomingMessage): Reply {
    const file = this.#files[path]!;
    const { tag, plain, gzip } = this.#encode(file);
    const zips = acceptsGzip(request);
    const headers = {
      "content-security-policy": POLICY,
      // Asked for again each time: another version of the program has other files.
      "cache-control": "no-cache",
      etag: tag,
      vary: "accept-encoding",
    };
    const known = request.headers["if-none-match"]?.split(",").map((one) => one.trim()) ?? [];
    if (known.includes(tag)) return { status: 304, headers };
    return {
      status: 200,
      type: file.type,
      headers: { ...headers, ...(zips ? { "content-encoding": "gzip" } : {}) },
      body: [zips ? gzip : plain],
    };
  }

  #encode(file: Asset): Encoded {
    let encoded = this.#encoded.get(file);
    if (encoded !== undefined) return encoded;
    const plain = new TextEncoder().encode(file.body);
    const digest = createHash("sha256").update(plain).digest("base64url").slice(0, 16);
    // Weak: it is the same for what is compressed and what is not.
    encoded = { tag: `W/"${digest}"`, plain, gzip: this.#gzip().compress(plain) };
    this.#encoded.set(file, encoded);
    return encoded;
  }
}
