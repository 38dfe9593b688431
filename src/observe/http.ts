/** A small HTTP server for whoever watches a program: an orchestrator, Prometheus, curl. */

/** What is at a path. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

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
  pages: Readonly<Record<string, () => Page | Promise<Page>>>,
): PageServer {
  const server = Deno.serve({ hostname, port, onListen() {} }, async (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("only GET is answered\n", {
        status: 405,
        headers: { allow: "GET, HEAD" },
      });
    }
    const path = new URL(request.url).pathname;
    const page = Object.hasOwn(pages, path) ? await pages[path]!() : undefined;
    if (page === undefined) {
      return new Response(`there is only ${Object.keys(pages).join(", ")}\n`, { status: 404 });
    }
    const { status, type, body } = page;
    return new Response(body, {
      status,
      headers: { "content-type": type, "cache-control": "no-store" },
    });
  });
  const host = server.addr.hostname.includes(":")
    ? `[${server.addr.hostname}]`
    : server.addr.hostname;
  return { url: `http://${host}:${server.addr.port}` };
}
