/** A small HTTP server for whoever watches a program: an orchestrator, Prometheus, curl. */

/** What is at a path. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** By their paths. */
type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

export interface PageServer {
  /** Where it listens: "http://127.0.0.1:9100". */
  readonly url: string;
}

/**
 * Serves pages for as long as the process lives. Only GET and HEAD; the paths are looked up as they
 * are, without their query.
 *
 * @throws {Deno.errors.AddrInUse | Deno.errors.PermissionDenied} it cannot listen there
 */
export function servePages(
  { hostname, port }: { readonly hostname: string; readonly port: number },
  pages: Pages,
): PageServer {
  const server = Deno.serve({ hostname, port, onListen() {} }, async (request) => {
    const { status, type, body } = await answer(request, pages);
    const headers = {
      "content-type": type,
      "cache-control": "no-store",
      allow: "GET, HEAD",
      // Each takes a file descriptor, and the server closes none by itself.
      connection: "close",
    };
    return new Response(body, { status, headers });
  });
  const host = server.addr.hostname.includes(":")
    ? `[${server.addr.hostname}]`
    : server.addr.hostname;
  return { url: `http://${host}:${server.addr.port}` };
}

async function answer({ method, url }: Request, pages: Pages): Promise<Page> {
  if (method !== "GET" && method !== "HEAD") return refusal(405, "only GET is answered");
  // The client's Host header is part of it.
  const path = URL.parse(url)?.pathname;
  if (path === undefined) return refusal(400, "the Host header and the path must make a URL");
  if (Object.hasOwn(pages, path)) return await pages[path]!();
  return refusal(404, `there is only ${Object.keys(pages).join(", ")}`);
}

function refusal(status: number, sentence: string): Page {
  return { status, type: "text/plain; charset=utf-8", body: `${sentence}\n` };
}
