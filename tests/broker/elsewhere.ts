/**
 * Logs in from this machine and from another address, and prints how it went. Run by users_test.ts
 * in a network namespace where 192.0.2.1 is an address of this machine that is no loopback.
 */
// deno-lint-ignore-file no-console
import { openPeer } from "../support/protocol_peer.ts";
import { startHere } from "./harness.ts";

const USER = { name: "ann", password: "secret" };

for (const [listen, user] of [["0.0.0.0", undefined], ["::", undefined], ["0.0.0.0", USER]]) {
  await using broker = await startHere({
    hosts: [listen as string],
    ...(typeof user === "object" ? { user } : {}),
  });
  for (const address of ["127.0.0.1", "192.0.2.1"]) {
    for (const [name, password] of [["guest", "guest"], ["ann", "secret"]]) {
      const login = { user: name!, password: password! };
      const outcome = await openPeer(broker.port, login, address).then(
        (peer) => peer.close().then(() => "welcome"),
        (error) => /replyCode: (\d+)/.exec(error.message)?.[1] ?? error.message,
      );
      console.log(`${listen} ${user ? "with a user" : "alone"} ${name}@${address}: ${outcome}`);
    }
  }
}
