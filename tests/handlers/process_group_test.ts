import { assertEquals } from "@std/assert";
import { ProcessGroups } from "../../src/handlers/process_group.ts";
import { waitUntil } from "../support/wait.ts";

Deno.test("a command that has ended before it is told to stop was not stopped", async () => {
  const stop = new AbortController();
  const said = Promise.withResolvers<string>();
  const running = new ProcessGroups().run({
    file: "/bin/sh",
    // The child holds stdout, for which the run waits a moment.
    args: ["-c", "sleep 600 & echo $$"],
    env: { PATH: "/usr/bin:/bin" },
    input: new Uint8Array(),
    stdout: (chunk) => {
      said.resolve(new TextDecoder().decode(chunk).trim());
      return Promise.resolve();
    },
    stderr: "null",
    signal: stop.signal,
    killAfterMs: 1_000,
  });
  const leader = await said.promise;
  await waitUntil("the leader to be gone", () => {
    try {
      return !Deno.statSync(`/proc/${leader}`);
    } catch {
      return true;
    }
  });
  await new Promise((resolve) => setTimeout(resolve)); // this process learns of it, too
  stop.abort();
  assertEquals(await running, { code: 0, signal: null, stopped: false });
});
