/**
 * The bench's peer on Redis streams, by the client of npm: XADD, XREADGROUP, XACK of each by itself.
 * Redis keeps what is acknowledged in the stream.
 *
 *   redis_peer.ts publish|consume|queues|latency PORT QUEUE COUNT WINDOW SIZE [SPREAD]
 */
import { createClient } from "redis";
import { type Load, runPeer, type Session } from "./session.ts";

const GROUP = "workers";
let consumers = 0;

async function open({ port }: Load): Promise<Session> {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 2 });
  await client.connect();
  return {
    send: (queue, body) => client.sendCommand(["XADD", queue, "*", "body", body]),
    work: async (queue, count, window, take) => {
      await client.sendCommand(["XGROUP", "CREATE", queue, GROUP, "0", "MKSTREAM"])
        .catch(() => undefined); // it is there
      const name = `consumer-${consumers++}`;
      // What is acknowledged while the next part is read: half the window each.
      const part = Math.max(1, Math.floor(window / 2));
      let acks: Promise<unknown>[] = [];
      for (let done = 0; done < count;) {
        const wanted = String(Math.min(part, count - done));
        const reply = client.sendCommand([
          ...["XREADGROUP", "GROUP", GROUP, name, "COUNT", wanted, "BLOCK", "0"],
          ...["STREAMS", queue, ">"],
        ]) as Promise<unknown>;
        const [entries] = await Promise.all([reply, ...acks]);
        const ids = (entries as [[string, [string, unknown][]]])[0][1].map(([id]) => id);
        acks = ids.map((id) => {
          take();
          return client.sendCommand(["XACK", queue, GROUP, id]);
        });
        done += ids.length;
      }
      await Promise.all(acks);
    },
  };
}

await runPeer(open);
