import { assertEquals, assertRejects } from "@std/assert";
import { openPeer, type Peer, PeerGone } from "./protocol_peer.ts";
import { canReset, Proxy } from "./proxy.ts";
import { ScriptedServer } from "./scripted_server.ts";
import { waitUntil, within } from "./wait.ts";

/** A server that answers channel.open until its client goes. */
async function answer(peer: Peer): Promise<void> {
  await peer.acceptHandshake();
  for (let id = 1;; id++) {
    await peer.channel(id).expect("channel.open", 60_000);
    await peer.channel(id).send("channel.open-ok");
  }
}

Deno.test("a proxy passes bytes, and cutting it resets the client", async () => {
  await using server = new ScriptedServer(answer);
  await using proxy = await Proxy.start(server.port);
  await using peer = await openPeer(proxy.port);
  await peer.open(1);
  assertEquals(proxy.open, 1);
  const next = assertRejects(() => peer.channel(1).frame(), PeerGone, canReset ? "reset" : "ended");
  await proxy.cut();
  await next;
  assertEquals(proxy.open, 0);
});

Deno.test("a black hole answers nothing and keeps the connection", async () => {
  await using server = new ScriptedServer(answer);
  await using proxy = await Proxy.start(server.port);
  await using peer = await openPeer(proxy.port);
  proxy.blackHole("toClient");
  await peer.channel(1).send("channel.open");
  await assertRejects(() => peer.channel(1).frame(200), Error, "Waited 200 ms");
  proxy.heal();
  await peer.open(2);
});

Deno.test("a truncating proxy passes exactly the bytes it was told", async () => {
  await using server = new ScriptedServer(answer);
  await using proxy = await Proxy.start(server.port);
  await using peer = await openPeer(proxy.port);
  proxy.truncate(16, "toClient"); // one channel.open-ok
  await peer.open(1);
  await peer.ended();
});

Deno.test("a delaying, throttled proxy is slow but loses nothing", async () => {
  await using server = new ScriptedServer(answer);
  await using proxy = await Proxy.start(server.port);
  proxy.delay(5);
  proxy.throttle(100_000);
  await using peer = await openPeer(proxy.port);
  for (let id = 1; id <= 5; id++) await peer.open(id);
});

Deno.test("a refusing proxy ends new connections and keeps the present one", async () => {
  await using server = new ScriptedServer(answer);
  await using proxy = await Proxy.start(server.port);
  await using peer = await openPeer(proxy.port);
  proxy.refuse();
  await assertRejects(() => openPeer(proxy.port));
  await peer.open(1);
});

Deno.test("a connection whose client does not read is cut like any other", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using proxy = await Proxy.start(listener.addr.port);
  using _client = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  using server = await listener.accept();
  const piece = new Uint8Array(1_000_000);
  let isFull = false;
  const sending = (async () => {
    for (;;) {
      const full = setTimeout(() => isFull = true, 500);
      await server.write(piece).finally(() => clearTimeout(full));
    }
  })().catch(() => {});
  await waitUntil("the way to be full", () => isFull);
  await within("the cut", proxy.cut());
  await sending;
});
