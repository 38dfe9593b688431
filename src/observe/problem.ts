/** What is wrong with a request over HTTP, as RFC 9457 writes it. */

/** The content type of {@linkcode problemBody}. */
export const PROBLEM_TYPE = "application/problem+json";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  417: "Expectation Failed",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** A request that is answered with an error. */
export class Problem extends Error {
  override readonly name = "Problem";

  /**
   * @param detail one sentence for whoever asked
   * @param headers of the answer, beside its content type
   * @param members of the body, beside those of RFC 9457
   */
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly headers: Readonly<Record<string, string>> = {},
    readonly members: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail);
  }
}

/** The body of the answer. */
export function problemBody({ status, detail, members }: Problem): string {
  const title = TITLES[status] ?? "Error";
  return JSON.stringify({ type: "about:blank", title, status, detail, ...members }) + "\n";
}
