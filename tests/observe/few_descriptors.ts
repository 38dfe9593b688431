/** A server of pages for a process that may run out of file descriptors; for http_test.ts. */
// deno-lint-ignore-file no-console
import { serveHttp } from "../../src/observe/http.ts";

// As our programs have, before they listen: Deno ends when it has no descriptor for the first one.
Deno.addSignalListener("SIGTERM", () => Deno.exit());
globalThis.addEventListener("unhandledrejection", (event) => event.preventDefault());
const server = await serveHttp(
  { hostname: "127.0.0.1", port: 0 },
  (_request, response) => void response.end("a page\n"),
  {
    connections: 1_000,
    unanswered: 8,
    headersMs: 60_000,
    requestMs: 60_000,
    idleMs: 60_000,
    silenceMs: 300,
  },
);
console.log(`port ${new URL(server.url).port}`);
for (;;) {
  // Several: the server may have found none just while one of them was in use here.
  const looks = await Promise.allSettled([1, 2, 3].map(() => Deno.open("/dev/null")));
  for (const look of looks) if (look.status === "fulfilled") look.value.close();
  if (looks.some(({ status }) => status === "rejected")) break;
  await new Promise((resolve) => setTimeout(resolve, 10));
}
console.log("no descriptor left");
