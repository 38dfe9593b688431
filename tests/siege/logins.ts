/** Attacks by those who have no login. */
import { setTimeout as pause } from "node:timers/promises";
import { connect, type Socket } from "node:net";
import { concat, LOGIN, method } from "../broker/strangers.ts";
import { encodeFrame, FRAME } from "../support/methods.ts";
import { openPeer, PROTOCOL_HEADER } from "../support/protocol_peer.ts";
import type { Attack, Siege } from "./siege.ts";

const HEARTBEATS = concat(Array(2_000).fill(encodeFrame(FRAME.heartbeat, 0, new Uint8Array())));

function startOk(user: string, password: string): Uint8Array {
  return method(0, "connection.start-ok", {
    clientProperties: {},
    mechanism: "PLAIN",
    response: `\0${user}\0${password}`,
    locale: "en_US",
  });
}

/** Guesses passwords without end, from so many connections at a time. */
async function guess(siege: Siege, user: string, connections: number): Promise<void> {
  let guesses = 0;
  await Promise.all(Array.from({ length: connections }, async () => {
    while (!siege.isOver) {
      const stranger = await siege.stranger();
      await stranger.send(PROTOCOL_HEADER, startOk(user, `guess ${guesses++}`));
      await stranger.ended;
      stranger.close();
    }
  }));
}

const WRONG_LOGINS: Attack = {
  name: "wrong logins for users known and unknown",
  users: ["guest"],
  async run(siege) {
    siege.begin();
    await Promise.all([guess(siege, "guest", 50), guess(siege, "nobody", 50)]);
  },
};

const HASHED_LOGINS: Attack = {
  name: "wrong logins that have to be hashed",
  users: ["ann", "bob", "guest"],
  async run(siege) {
    siege.begin();
    await Promise.all([guess(siege, "ann", 50), guess(siege, "bob", 50)]);
  },
};

/** Resolves when the broker has ended the connection on which the bytes were sent. */
function ended(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    socket.on("error", () => {}).on("close", () => resolve()).resume().write(bytes);
  });
}

/** Each guess comes from a network that nobody has seen. A right login has to get in meanwhile. */
const FRESH_NETWORKS: Attack = {
  name: "guesses at a known user's password from fresh networks",
  users: ["ann", "guest"],
  async run(siege) {
    siege.begin();
    let network = 0;
    const guesses = Array.from({ length: 60 }, async () => {
      while (!siege.isOver) {
        const n = ++network;
        const address = `127.${1 + (n >> 16) % 254}.${(n >> 8) % 256}.${n % 256}`;
        const bytes = concat([PROTOCOL_HEADER, startOk("ann", `guess ${n}`)]);
        const socket = connect({ port: siege.port, host: "127.0.0.1", localAddress: address });
        await Promise.race([ended(socket, bytes), siege.over]);
        socket.destroy();
      }
    });
    await pause(1_000);
    const ann = await openPeer(siege.port, { user: "ann", password: "ann" }, "127.0.0.1");
    await ann.close();
    await Promise.all(guesses);
  },
};

const STRANGERS: Attack = {
  name: "4,000 connections that send heartbeats before the login",
  async run(siege) {
    siege.begin();
    const count = siege.size(4_000, 200);
    const rounds = Array.from({ length: count }, async () => {
      while (!siege.isOver) {
        const stranger = await siege.stranger(false);
        await stranger.send(PROTOCOL_HEADER);
        // Until the broker ends it: the handshake has its time.
        for (let n = 0; n < 20 && !siege.isOver; n++) {
          await stranger.send(HEARTBEATS);
          await pause(500);
        }
        stranger.close();
      }
    });
    await Promise.all(rounds);
  },
};

const HALF_OPEN: Attack = {
  name: "connections that stop in the middle of the handshake",
  async run(siege) {
    siege.begin();
    const count = siege.size(3_000, 300);
    for (let n = 0; n < count && !siege.isOver; n++) {
      const stranger = await siege.stranger(false);
      await stranger.send(concat(LOGIN.slice(0, n % LOGIN.length)));
      if (n % 50 === 0) await pause(1);
    }
    await siege.over;
  },
};

export const LOGINS: readonly Attack[] = [
  WRONG_LOGINS,
  HASHED_LOGINS,
  FRESH_NETWORKS,
  STRANGERS,
  HALF_OPEN,
];
