/** From the protocol header to connection.open (AMQP 0-9-1 section 2.2.4). */

import { isLoopback } from "../../amqp/loopback.ts";
import { FRAME_MIN_BYTES, PROTOCOL_HEADER } from "../../amqp/protocol.ts";
import { now } from "../../time/clock.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import { readCredentials } from "./credentials.ts";
import { CrowdedError } from "./login_line.ts";
import { type Table, tableOf, textOf } from "../wire/fields.ts";
import type { FrameSource } from "../net/inbox.ts";
import type { Limits } from "../net/limits.ts";
import type { Arguments } from "../wire/methods.ts";
import { closeQuietly, type Socket } from "../net/socket.ts";
import type { StrangersTurns } from "../net/strangers_turns.ts";
import type { StrangersLog } from "../net/strangers_log.ts";
import { type PageAddress, serverProperties } from "./server_properties.ts";
import { isUnexpected, Refused, Stranger } from "./stranger.ts";
import type { LoginAttempt, Users } from "./users.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";

/** Ends of the headers that mean this protocol: 0-9-1, and the forms of 0-9 and 0-9-1 before it. */
const SPOKEN = ["0,0,9,1", "1,1,0,9", "1,1,9,1"];

/** Milliseconds until a login is tried again for which there was no time. */
const AGAIN_MS = 500;

/** Bytes, and so at most characters, of a name that can be right. */
const LONGEST_NAME = 255;

/**
 * Products of clients that expect basic.qos of every broker but RabbitMQ to be as AMQP says: for
 * the channel, consumers that run already included. py-amqp is what kombu, and so Celery, is on.
 */
const QOS_FOR_CHANNEL = ["py-amqp"];

/** What a client says about itself. */
export interface Client {
  readonly product?: string;
  readonly version?: string;
  /** What its program calls the connection. */
  readonly name?: string;
}

/** A connection that has shown who it is and where it wants to go. */
export interface Login {
  readonly connection: Socket;
  readonly source: FrameSource;
  /** For logs. */
  readonly peer: string;
  readonly client: Client;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly channelMax: number;
  readonly frameMax: number;
  /** Seconds, or 0 for none. */
  readonly heartbeat: number;
  readonly cancelNotify: boolean;
  readonly qosForChannel: boolean;
  readonly blockedNotify: boolean;
}

export interface HandshakeHost {
  readonly limits: Limits;
  readonly users: Users;
  readonly vhosts: Map<string, VirtualHost>;
  readonly deadlines: Deadlines;
  readonly version: string;
  readonly page: PageAddress | undefined;
  readonly strangers: StrangersLog;
  readonly turns: StrangersTurns;
}

/**
 * Leads a new connection through the handshake.
 * @returns the login, or undefined when the connection was refused and can be closed
 */
export async function shakeHands(
  connection: Socket,
  host: HandshakeHost,
): Promise<Login | undefined> {
  const stranger = new Stranger(connection, host.deadlines, host.turns);
  const deadline = host.deadlines.after(host.limits.handshakeMs, () => {
    const { peer } = stranger;
    host.strangers.warn("connection closed: the handshake took too long", { peer });
    closeQuietly(connection);
  });
  try {
    return await new Handshake(stranger, host).run();
  } finally {
    host.deadlines.cancel(deadline);
  }
}

class Handshake {
  readonly #stranger: Stranger;
  readonly #host: HandshakeHost;
  /** When nobody waits for the outcome any more, in milliseconds since the epoch. */
  readonly #until: number;
  #capabilities: Table = new Map();
  #client: Client = {};

  constructor(stranger: Stranger, host: HandshakeHost) {
    this.#stranger = stranger;
    this.#host = host;
    this.#until = now() + host.limits.handshakeMs;
  }

  async run(): Promise<Login | undefined> {
    try {
      return await this.#steps();
    } catch (error) {
      if (isUnexpected(error)) await this.#stranger.hold(this.#host.limits.silenceMs);
      else if (!(error instanceof Refused)) throw error;
      return undefined;
    }
  }

  async #steps(): Promise<Login> {
    await this.#protocolHeader();
    const user = await this.#logIn();
    const { channelMax, frameMax, heartbeat } = await this.#tune();
    const vhost = await this.#open(user);
    const { connection, source, peer } = this.#stranger;
    return {
      connection,
      source,
      peer,
      client: this.#client,
      user,
      vhost,
      channelMax,
      frameMax,
      heartbeat,
      cancelNotify: this.#can("consumer_cancel_notify"),
      qosForChannel: QOS_FOR_CHANNEL.includes(this.#client.product ?? ""),
      blockedNotify: this.#can("connection.blocked"),
    };
  }

  #can(capability: string): boolean {
    const field = this.#capabilities.get(capability);
    return field?.type === "bool" && field.value;
  }

  async #protocolHeader(): Promise<void> {
    const header = await this.#stranger.protocolHeader();
    const isAmqp = header.subarray(0, 4).every((byte, index) => byte === PROTOCOL_HEADER[index]);
    if (isAmqp && SPOKEN.includes(header.subarray(4).join(","))) return;
    await this.#stranger.write(PROTOCOL_HEADER);
    throw new Refused();
  }

  async #logIn(): Promise<string> {
    const { version, page } = this.#host;
    const { address, peer } = this.#stranger;
    const isNear = isLoopback(address);
    await this.#stranger.send("connection.start", {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: serverProperties(version, isNear ? page : undefined),
      mechanisms: "PLAIN AMQPLAIN",
      locales: "en_US",
    });
    const { clientProperties, mechanism, response } = await this.#stranger
      .expect("connection.start-ok");
    this.#capabilities = tableOf(clientProperties.get("capabilities")) ?? new Map();
    this.#client = clientOf(clientProperties);
    if (mechanism !== "PLAIN" && mechanism !== "AMQPLAIN") {
      return await this.#stranger.refuse(
        503,
        "COMMAND_INVALID",
        "unknown authentication mechanism",
      );
    }
    const { user, password } = readCredentials(mechanism, response);
    const isWanted = () => now() < this.#until;
    const since = now();
    const about = { user: user.slice(0, LONGEST_NAME), peer };
    try {
      if (await this.#check({ user, password, address, isWanted })) return user;
    } catch (error) {
      if (!(error instanceof CrowdedError)) throw error;
      this.#host.strangers.warn("connection closed: too many logins wait to be checked", about);
      throw new Refused();
    }
    this.#host.strangers.warn("login refused", about);
    return await this.#distrust(
      since,
      `Login was refused using authentication mechanism ${mechanism}. ` +
        `For details see the broker logfile.`,
    );
  }

  /**
   * Asks again while there is no time to hash the password: who goes on waiting gets before newcomers.
   * @throws {CrowdedError} when its own time is over
   */
  async #check(login: LoginAttempt): Promise<boolean> {
    for (;;) {
      try {
        return await this.#host.users.check(login);
      } catch (error) {
        const isOver = !login.isWanted() || this.#host.users.isStopped;
        if (isOver || !(error instanceof CrowdedError)) throw error;
      }
      await new Promise<void>((resolve) => this.#host.deadlines.after(AGAIN_MS, resolve));
    }
  }

  async #tune(): Promise<Arguments<"connection.tune-ok">> {
    const { channels, frameMax, heartbeat } = this.#host.limits;
    await this.#stranger.send("connection.tune", { channelMax: channels, frameMax, heartbeat });
    const chosen = await this.#stranger.expect("connection.tune-ok");
    await this.#checkLimit("channel_max", chosen.channelMax, 1, channels);
    await this.#checkLimit("frame_max", chosen.frameMax, FRAME_MIN_BYTES, frameMax);
    return chosen;
  }

  /** 0 means no limit, which is more than we offered. */
  async #checkLimit(name: string, value: number, least: number, most: number): Promise<void> {
    if (value >= least && value <= most) return;
    const reason = value > most || value === 0
      ? `negotiated ${name} = ${value}${value === 0 ? " (no limit)" : ""} is higher than the ` +
        `maximum allowed value (${most})`
      : `negotiated ${name} = ${value} is lower than the minimum allowed value (${least})`;
    await this.#stranger.refuse(530, "NOT_ALLOWED", reason, 31);
  }

  async #open(user: string): Promise<VirtualHost> {
    const { vhost: name } = await this.#stranger.expect("connection.open");
    const vhost = this.#host.vhosts.get(name);
    if (vhost !== undefined) return vhost;
    this.#host.strangers.warn("login refused: no such vhost", { vhost: name, user });
    return await this.#stranger.refuse(530, "NOT_ALLOWED", `vhost ${name} not found`, 40);
  }

  /**
   * Makes a client that may be guessing wait before it is told: so long that the time does not show
   * whether a hash was needed, and for most of its handshake while others wait for theirs.
   * @param since when its login came
   */
  async #distrust(since: number, reason: string): Promise<never> {
    const { distrustMs } = this.#host.limits;
    const least = distrustMs - (now() - since) % distrustMs;
    // The fewer guesses a crowd has under way, the sooner a right password has its turn. Not all at
    // one time: they would come back together.
    const left = this.#until - now() - distrustMs;
    const longer = this.#host.users.isCrowded ? left * (1 + Math.random()) / 2 : 0;
    const held = await this.#stranger.hold(Math.max(least, longer));
    if (held && this.#can("authentication_failure_close")) {
      await this.#stranger.sendClose(403, "ACCESS_REFUSED", reason, 0);
      await held.reading;
    }
    throw new Refused(reason);
  }
}

function clientOf(properties: Table): Client {
  const [product, version, name] = ["product", "version", "connection_name"]
    .map((key) => textOf(properties.get(key))?.slice(0, LONGEST_NAME));
  return {
    ...(product === undefined ? {} : { product }),
    ...(version === undefined ? {} : { version }),
    ...(name === undefined ? {} : { name }),
  };
}
