/** The client's side of connection.start and connection.tune, which the package does not cover. */
import type { ClientIdentity } from "./client_identity.ts";
import { outOfTurn } from "./client/dispatch.ts";
import { ClassId, ConnectionMethod, Type, Writer } from "@cloudamqp/amqp-client/amqp-frame";
import { AMQPView } from "./client/view.ts";
import { ConnectionError, EXIT } from "../errors.ts";
import type { Field } from "../task/task.ts";
import { protocolError } from "./frame_buffer.ts";
import { FRAME_MIN_BYTES } from "./protocol.ts";
import { type Endpoint, redact } from "./url.ts";

/** A connection, as its handshake sees it. */
export interface HandshakeHost {
  /** What we want. */
  readonly ours: Tune;
  send(bytes: Uint8Array): void;
  /** Told what was agreed. */
  onTuned(tune: Tune): void;
  /** The broker has opened the connection. */
  onOpened(): void;
}

/** Steps: start > tune > open-ok, after which it is through. */
export class Handshake {
  /** Known after the first step. */
  server: ServerProperties = { product: "", version: "", page: "", instance: "" };
  readonly #endpoint: Endpoint;
  readonly #identity: ClientIdentity;
  readonly #host: HandshakeHost;
  /** The next method from the broker; undefined: none. */
  #awaited: ConnectionMethod | undefined = ConnectionMethod.START;

  constructor(endpoint: Endpoint, identity: ClientIdentity, host: HandshakeHost) {
    this.#endpoint = endpoint;
    this.#identity = identity;
    this.#host = host;
  }

  get isThrough(): boolean {
    return this.#awaited === undefined;
  }

  /** @throws {ConnectionError} out of turn, or no agreement */
  onMethod(methodId: ConnectionMethod, args: AMQPView): void {
    if (methodId !== this.#awaited) throw outOfTurn(ClassId.CONNECTION, methodId);
    if (methodId === ConnectionMethod.START) return this.#onStart(args);
    if (methodId === ConnectionMethod.TUNE) return this.#onTune(args);
    this.#awaited = undefined;
    this.#host.onOpened();
  }

  #onStart(args: AMQPView): void {
    const start = readStart(args);
    this.server = start.server;
    this.#awaited = ConnectionMethod.TUNE;
    const { name, version } = this.#identity;
    this.#host.send(writeStartOk(this.#endpoint, start, name, version));
  }

  #onTune(args: AMQPView): void {
    const tune = agree(args, this.#host.ours);
    this.#awaited = ConnectionMethod.OPEN_OK;
    this.#host.send(writeTuneOkAndOpen(tune, this.#endpoint.vhost));
    this.#host.onTuned(tune);
  }
}

/** What the broker says of itself in connection.start. */
export interface ServerProperties {
  readonly product: string;
  readonly version: string;
  /** Where our own broker's page is, and how the API there names it; empty: it does not say. */
  readonly page: string;
  readonly instance: string;
}

interface Start {
  readonly server: ServerProperties;
  readonly mechanisms: readonly string[];
}

/**
 * Reads the arguments of connection.start (section 1.4.2.1). What the broker says of itself may be
 * unreadable: nothing depends on it.
 */
function readStart(view: AMQPView): Start {
  const major = view.getUint8(0);
  const minor = view.getUint8(1);
  if (major !== 0 || minor !== 9) {
    throw protocolError(`AMQP 0-9 is required, and it speaks ${major}-${minor}`);
  }
  let properties: Record<string, Field> = {};
  try {
    [properties] = view.getTable(2);
  } catch {
    // It stays empty; its length leads to what follows.
  }
  const [mechanisms] = view.getLongString(2 + 4 + view.getUint32(2));
  return {
    server: {
      product: word(properties["product"]),
      version: word(properties["version"]),
      page: word(properties["page"]),
      instance: word(properties["instance"]),
    },
    mechanisms: mechanisms.split(" "),
  };
}

/**
 * Builds connection.start-ok.
 *
 * @param name connection name, shown by the broker's tools
 * @throws {ConnectionError} the broker does not offer the login this endpoint asks for
 */
function writeStartOk(
  endpoint: Endpoint,
  start: Start,
  name: string,
  version: string,
): Uint8Array {
  if (!start.mechanisms.includes(endpoint.auth)) {
    throw new ConnectionError(
      `cannot log in at ${redact(endpoint)}: the login mechanism must be one of ` +
        `${start.mechanisms.join(", ")}, and is ${endpoint.auth}`,
      EXIT.noPermission,
      true,
    );
  }
  const response = endpoint.auth === "PLAIN" ? `\0${endpoint.username}\0${endpoint.password}` : "";
  // A character takes up to three bytes; a password may be a token of many kilobytes.
  const frame = method(ConnectionMethod.START_OK, 1024 + 3 * (name.length + response.length));
  frame.writeTable({
    connection_name: name,
    product: "workqueue",
    version,
    platform: `Deno ${Deno.version.deno} ${Deno.build.target}`,
    capabilities: {
      authentication_failure_close: true,
      "basic.nack": true,
      "connection.blocked": true,
      consumer_cancel_notify: true,
      per_consumer_qos: true,
      publisher_confirms: true,
    },
  });
  frame.writeShortString(endpoint.auth);
  frame.writeLongString(response);
  frame.writeShortString("en_US");
  frame.finalize();
  return frame.toUint8Array();
}

/** What both sides have agreed on. */
export interface Tune {
  /** 0: no limit. */
  readonly channelMax: number;
  /** Bytes of a whole frame; never 0. */
  readonly frameMax: number;
  /** Seconds; 0: none. */
  readonly heartbeat: number;
}

/**
 * Reads connection.tune and takes the lesser of each value; 0 means that a side does not care.
 *
 * @throws {ConnectionError} frames smaller than the specification allows
 */
function agree(view: AMQPView, ours: Tune): Tune {
  const frameMax = view.getUint32(2);
  if (frameMax !== 0 && frameMax < FRAME_MIN_BYTES) {
    throw protocolError(`frame_max must be at least ${FRAME_MIN_BYTES}, and is ${frameMax}`);
  }
  return {
    channelMax: lesser(ours.channelMax, view.getUint16(0)),
    frameMax: lesser(ours.frameMax, frameMax),
    heartbeat: ours.heartbeat === 0 ? 0 : lesser(ours.heartbeat, view.getUint16(6)),
  };
}

/** Builds connection.tune-ok and connection.open in one piece: no answer stands between them. */
function writeTuneOkAndOpen(tune: Tune, vhost: string): Uint8Array {
  const tuneOk = method(ConnectionMethod.TUNE_OK, 20);
  tuneOk.writeUint16(tune.channelMax);
  tuneOk.writeUint32(tune.frameMax);
  tuneOk.writeUint16(tune.heartbeat);
  tuneOk.finalize();
  const open = method(ConnectionMethod.OPEN, 512);
  open.writeShortString(vhost);
  open.writeUint8(0);
  open.writeUint8(0);
  open.finalize();
  const first = tuneOk.toUint8Array();
  const second = open.toUint8Array();
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Why the broker closed: connection.close and channel.close begin alike. */
export function readClose(view: AMQPView): { code: number; text: string } {
  const [text] = view.getShortString(2);
  return { code: view.getUint16(0), text };
}

/** A frame of `connection.close-ok` or `channel.close-ok`. */
export function writeCloseOk(channel: number, classId: ClassId, methodId: number): Uint8Array {
  const frame = new Writer({
    bufferSize: 12,
    type: Type.METHOD,
    channel,
    frameSize: 4,
    classId,
    method: methodId,
  });
  frame.finalize();
  return frame.toUint8Array();
}

/**
 * What the first bytes say when they are not AMQP frames: an AMQP header of another version, TLS,
 * or some other protocol.
 */
export function explainForeignBytes(bytes: Uint8Array): string {
  if (bytes[0] === 0x15 && bytes[1] === 0x03) return "it speaks TLS: use amqps://";
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 40));
  if (text.startsWith("AMQP") && bytes.length >= 8) {
    return `AMQP 0-9-1 is required, and it asks for ${[...bytes.subarray(4, 8)].join("-")}`;
  }
  return `AMQP 0-9-1 is required, and it answered ${JSON.stringify(text)}`;
}

function method(id: ConnectionMethod, bufferSize: number): Writer {
  return new Writer({
    bufferSize,
    type: Type.METHOD,
    channel: 0,
    classId: ClassId.CONNECTION,
    method: id,
  });
}

function lesser(a: number, b: number): number {
  return a === 0 || b === 0 ? a + b : Math.min(a, b);
}

function word(field: Field): string {
  return typeof field === "string" ? field.slice(0, 100) : "";
}
