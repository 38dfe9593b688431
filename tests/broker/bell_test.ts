/** Looking at sockets, on a host that cuts off the connection by which that is known. */
import { assertEquals } from "@std/assert";
import { spawn } from "../support/process.ts";
import { unless } from "../support/unless.ts";
import { findNamespacesMissing } from "./harness.ts";

const namespacesMissing = await findNamespacesMissing();

Deno.test({
  ...unless(
    namespacesMissing,
    "a loopback that goes keeps nobody waiting, and is used again when it is back",
  ),
  async fn() {
    const script = new URL("cut_off.ts", import.meta.url).pathname;
    const args = ["-n", Deno.execPath(), "run", "-A", "--no-check", script];
    await using host = spawn("unshare", { args, killOnDispose: true });
    const { code, stdout, stderr } = await host.ended();
    assertEquals([code, stderr], [0, ""]);
    assertEquals(stdout, "heard without\nheard with it\nheard when it is closed\n");
  },
});
