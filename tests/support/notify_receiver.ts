/** Prints each datagram that comes to the socket at Deno.args[0], as a line of JSON. */
// deno-lint-ignore-file no-console
interface Datagrams {
  receive(): Promise<[Uint8Array, unknown]>;
}

const { listenDatagram } = Deno as unknown as { listenDatagram(at: unknown): Datagrams };
const socket = listenDatagram({ transport: "unixpacket", path: Deno.args[0] });
console.log("listens");
for (;;) {
  const [bytes] = await socket.receive();
  console.log(JSON.stringify(new TextDecoder().decode(bytes)));
}
