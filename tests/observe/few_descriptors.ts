/** A server of pages for a process that may run out of file descriptors; for http_test.ts. */
// deno-lint-ignore-file no-console
import { serveHttp } from "../../src/observe/http.ts";

const server = await serveHttp(
  { hostname: "127.0.0.1", port: 0 },
  (_request, response) => void response.end("a page\n"),
  { connections: 1_000, headersMs: 60_000, requestMs: 60_000, idleMs: 60_000, silenceMs: 300 },
);
console.log(`port ${new URL(server.url).port}`);
for (;;) {
  try {
    (await Deno.open("/dev/null")).close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  } catch {
    break;
  }
}
console.log("no descriptor left");
