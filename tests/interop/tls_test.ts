/** Other makers' programs talk to our broker over TLS. */
import { assertEquals } from "@std/assert";
import { makeCertificates } from "../amqp/certificates.ts";
import { portOf, startProcess } from "../broker/harness.ts";
import { spawn } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { unless } from "../support/unless.ts";
import { preparePeers } from "./peers.ts";

const folder = await tempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(folder.path, { recursive: true }));
const { ca, server } = await makeCertificates(folder.path);

for (const peer of await preparePeers(folder.path)) {
  if (peer.name === "amqp-tools") continue; // Debian's are built without amqps in --url
  Deno.test({
    ...unless(peer.missing, `${peer.name} works over TLS`),
    async fn() {
      await using broker = startProcess(["--tls-cert", server.cert, "--tls-key", server.key]);
      const url = `amqps://guest:guest@localhost:${await portOf(broker)}/`;
      const trust = { SSL_CERT_FILE: ca };
      const taker = peer.worker(url, "quorum");
      await using worker = spawn(taker.command, {
        args: taker.args,
        env: { ...taker.env, ...trust },
        killOnDispose: true,
      });
      const sender = peer.newTask(url, "quorum", "over TLS");
      await using newTask = spawn(sender.command, {
        args: sender.args,
        env: { ...sender.env, ...trust },
      });
      const { code, stderr } = await newTask.ended();
      assertEquals(code, 0, stderr);
      await worker.waitForLine(/Received over TLS/);
      await worker.waitForLine(/Done/);
    },
  });
}
