/**
 * Who may ask a server that stands on a host where browsers and other users are: the bearer token,
 * the name it is asked under, and the pages of other sites.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Problem } from "./problem.ts";

export interface GateOptions {
  /** The tokens that hold at this moment, one of which must be there. Absent: nobody needs one. */
  readonly tokens?: (() => readonly string[]) | undefined;
  /**
   * Origins of other sites whose pages may ask: "https://app.example.org"; "*" is all. Absent: none,
   * and there is no option for it.
   */
  readonly origins?: readonly string[];
}

/** Whether only this machine reaches an address, or a name that is one. */
export function isLoopbackName(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  return /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(name) || name === "::1" ||
    /^(?:[a-z0-9-]+\.)*localhost\.?$/.test(name);
}

export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /**
   * Requires that nobody is tricked into asking: another site's page that made its own name point to
   * this machine, or that posts from the browser of somebody who can reach it.
   *
   * @throws {Problem} 400, 403
   */
  requireHonest(request: IncomingMessage): void {
    const { headers, rawHeaders, httpVersion, url = "" } = request;
    const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
    if (hosts.length > 1 || (hosts.length === 0 && httpVersion !== "1.0")) {
      throw new Problem(400, `a request must have one Host header, and has ${hosts.length}`);
    }
    const { origin } = headers;
    // What a target names counts, as it does for a proxy.
    const host = /^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? headers.host ?? "localhost";
    const name = /^(\[[^\]]*\]|[^:]*)(?::\d{0,5})?$/.exec(host)?.[1] ?? "";
    if (this.#options.tokens === undefined && !isLoopbackName(name)) {
      throw new Problem(
        403,
        "the Host header must name this machine (localhost, 127.0.0.1 or [::1]) where no token " +
          `is required, and is ${JSON.stringify(host.slice(0, 100))}`,
      );
    }
    if (origin === undefined) return this.#requireSameSite(request);
    if (this.isWelcome(origin)) return;
    if (origin.replace(/^https?:\/\//, "").toLowerCase() === host.toLowerCase()) return;
    const hint = this.#options.origins === undefined ? "" : "; --cors allows an origin";
    throw new Problem(403, `the pages of ${origin.slice(0, 100)} may not ask here${hint}`);
  }

  /** Browsers say who asks, also where they send no Origin. @throws {Problem} 403 */
  #requireSameSite({ headers, method }: IncomingMessage): void {
    const site = headers["sec-fetch-site"];
    if (site === undefined || site === "same-origin" || site === "none") return;
    if (this.isWelcome("*")) return;
    // Following a link is no harm: the page that it is on does not see the answer.
    const isLink = method === "GET" && headers["sec-fetch-mode"] === "navigate";
    if (isLink && headers["sec-fetch-dest"] === "document") return;
    throw new Problem(403, "the pages of other sites may not ask here");
  }

  /** Whether the pages of any other site may. */
  get welcomesOthers(): boolean {
    return (this.#options.origins ?? []).length > 0;
  }

  /** Whether the pages of another site may ask, and see the answer. */
  isWelcome(origin: string): boolean {
    const { origins = [] } = this.#options;
    return origins.includes("*") || origins.includes(origin.toLowerCase());
  }

  /** @throws {Problem} 401 */
  requireToken({ headers }: IncomingMessage): void {
    const { tokens } = this.#options;
    if (tokens === undefined) return;
    const given = /^bearer +([\x21-\x7e]+) *$/i.exec(headers.authorization ?? "")?.[1];
    const challenge = given === undefined ? "" : ', error="invalid_token"';
    // All of them are compared, in a time that says nothing of either.
    const digest = digestOf(given ?? "");
    const right = tokens().filter((token) => timingSafeEqual(digestOf(token), digest));
    if (given !== undefined && right.length > 0) return;
    const state = given === undefined ? "has none" : "has another one";
    throw new Problem(
      401,
      `a request must have the bearer token in its Authorization header, and ${state}`,
      { "www-authenticate": `Bearer realm="tasks"${challenge}` },
    );
  }
}

function digestOf(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
