/**
 * The methods of AMQP 0-9-1 with RabbitMQ's extensions, as rows of data: class, method, fields in
 * their order on the wire. Decoding and encoding follow from the rows (`method_codec.ts`).
 */

import type { Table } from "./fields.ts";

/** What the types of fields are in JavaScript. */
export interface FieldTypes {
  bit: boolean;
  octet: number;
  short: number;
  long: number;
  longlong: number;
  shortstr: string;
  longstr: string;
  /** A longstr whose bytes are not text: SASL responses. */
  bytes: Uint8Array;
  table: Table;
}

/** The fields of a method, in their order on the wire. */
export type Fields = Record<string, keyof FieldTypes>;

/** The arguments of a method, by field name. */
type ArgumentsOf<F extends Fields> = { [K in keyof F]: FieldTypes[F[K]] };

/** A method. */
export interface Row<F extends Fields = Fields, D extends boolean = boolean> {
  readonly classId: number;
  readonly methodId: number;
  readonly fields: F;
  /** It tells the client that something is so for good: a power cut must not make it untrue. */
  readonly durable: D;
}

function row<const F extends Fields>(classId: number, methodId: number, fields: F): Row<F, false> {
  return { classId, methodId, fields, durable: false };
}

/** The row of a method that promises something durable. */
function promise<const F extends Fields>(
  classId: number,
  methodId: number,
  fields: F,
): Row<F, true> {
  return { classId, methodId, fields, durable: true };
}

/** By name. */
export const METHODS = {
  "connection.start": row(10, 10, {
    versionMajor: "octet",
    versionMinor: "octet",
    serverProperties: "table",
    mechanisms: "longstr",
    locales: "longstr",
  }),
  "connection.start-ok": row(10, 11, {
    clientProperties: "table",
    mechanism: "shortstr",
    response: "bytes",
    locale: "shortstr",
  }),
  "connection.secure": row(10, 20, { challenge: "longstr" }),
  "connection.secure-ok": row(10, 21, { response: "bytes" }),
  "connection.tune": row(10, 30, { channelMax: "short", frameMax: "long", heartbeat: "short" }),
  "connection.tune-ok": row(10, 31, { channelMax: "short", frameMax: "long", heartbeat: "short" }),
  "connection.open": row(10, 40, { vhost: "shortstr", capabilities: "shortstr", insist: "bit" }),
  "connection.open-ok": row(10, 41, { knownHosts: "shortstr" }),
  "connection.close": row(10, 50, {
    replyCode: "short",
    replyText: "shortstr",
    classId: "short",
    methodId: "short",
  }),
  "connection.close-ok": row(10, 51, {}),
  "connection.blocked": row(10, 60, { reason: "shortstr" }),
  "connection.unblocked": row(10, 61, {}),
  "connection.update-secret": row(10, 70, { newSecret: "bytes", reason: "shortstr" }),
  "connection.update-secret-ok": row(10, 71, {}),
  "channel.open": row(20, 10, { outOfBand: "shortstr" }),
  "channel.open-ok": row(20, 11, { channelId: "longstr" }),
  "channel.flow": row(20, 20, { active: "bit" }),
  "channel.flow-ok": row(20, 21, { active: "bit" }),
  "channel.close": row(20, 40, {
    replyCode: "short",
    replyText: "shortstr",
    classId: "short",
    methodId: "short",
  }),
  "channel.close-ok": row(20, 41, {}),
  "access.request": row(30, 10, {
    realm: "shortstr",
    exclusive: "bit",
    passive: "bit",
    active: "bit",
    write: "bit",
    read: "bit",
  }),
  "access.request-ok": row(30, 11, { ticket: "short" }),
  "exchange.declare": row(40, 10, {
    ticket: "short",
    exchange: "shortstr",
    type: "shortstr",
    passive: "bit",
    durable: "bit",
    autoDelete: "bit",
    internal: "bit",
    noWait: "bit",
    arguments: "table",
  }),
  "exchange.declare-ok": promise(40, 11, {}),
  "exchange.delete": row(40, 20, {
    ticket: "short",
    exchange: "shortstr",
    ifUnused: "bit",
    noWait: "bit",
  }),
  "exchange.delete-ok": promise(40, 21, {}),
  "exchange.bind": row(40, 30, {
    ticket: "short",
    destination: "shortstr",
    source: "shortstr",
    routingKey: "shortstr",
    noWait: "bit",
    arguments: "table",
  }),
  "exchange.bind-ok": promise(40, 31, {}),
  "exchange.unbind": row(40, 40, {
    ticket: "short",
    destination: "shortstr",
    source: "shortstr",
    routingKey: "shortstr",
    noWait: "bit",
    arguments: "table",
  }),
  "exchange.unbind-ok": promise(40, 51, {}),
  "queue.declare": row(50, 10, {
    ticket: "short",
    queue: "shortstr",
    passive: "bit",
    durable: "bit",
    exclusive: "bit",
    autoDelete: "bit",
    noWait: "bit",
    arguments: "table",
  }),
  "queue.declare-ok": promise(50, 11, {
    queue: "shortstr",
    messageCount: "long",
    consumerCount: "long",
  }),
  "queue.bind": row(50, 20, {
    ticket: "short",
    queue: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
    noWait: "bit",
    arguments: "table",
  }),
  "queue.bind-ok": promise(50, 21, {}),
  "queue.purge": row(50, 30, { ticket: "short", queue: "shortstr", noWait: "bit" }),
  "queue.purge-ok": promise(50, 31, { messageCount: "long" }),
  "queue.delete": row(50, 40, {
    ticket: "short",
    queue: "shortstr",
    ifUnused: "bit",
    ifEmpty: "bit",
    noWait: "bit",
  }),
  "queue.delete-ok": promise(50, 41, { messageCount: "long" }),
  "queue.unbind": row(50, 50, {
    ticket: "short",
    queue: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
    arguments: "table",
  }),
  "queue.unbind-ok": promise(50, 51, {}),
  "basic.qos": row(60, 10, { prefetchSize: "long", prefetchCount: "short", global: "bit" }),
  "basic.qos-ok": row(60, 11, {}),
  "basic.consume": row(60, 20, {
    ticket: "short",
    queue: "shortstr",
    consumerTag: "shortstr",
    noLocal: "bit",
    noAck: "bit",
    exclusive: "bit",
    noWait: "bit",
    arguments: "table",
  }),
  "basic.consume-ok": row(60, 21, { consumerTag: "shortstr" }),
  "basic.cancel": row(60, 30, { consumerTag: "shortstr", noWait: "bit" }),
  "basic.cancel-ok": row(60, 31, { consumerTag: "shortstr" }),
  "basic.publish": row(60, 40, {
    ticket: "short",
    exchange: "shortstr",
    routingKey: "shortstr",
    mandatory: "bit",
    immediate: "bit",
  }),
  "basic.return": row(60, 50, {
    replyCode: "short",
    replyText: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
  }),
  "basic.deliver": row(60, 60, {
    consumerTag: "shortstr",
    deliveryTag: "longlong",
    redelivered: "bit",
    exchange: "shortstr",
    routingKey: "shortstr",
  }),
  "basic.get": row(60, 70, { ticket: "short", queue: "shortstr", noAck: "bit" }),
  "basic.get-ok": row(60, 71, {
    deliveryTag: "longlong",
    redelivered: "bit",
    exchange: "shortstr",
    routingKey: "shortstr",
    messageCount: "long",
  }),
  "basic.get-empty": row(60, 72, { clusterId: "shortstr" }),
  // To a publisher. From a consumer it asks for nothing.
  "basic.ack": promise(60, 80, { deliveryTag: "longlong", multiple: "bit" }),
  "basic.reject": row(60, 90, { deliveryTag: "longlong", requeue: "bit" }),
  "basic.recover-async": row(60, 100, { requeue: "bit" }),
  "basic.recover": row(60, 110, { requeue: "bit" }),
  "basic.recover-ok": row(60, 111, {}),
  "basic.nack": row(60, 120, { deliveryTag: "longlong", multiple: "bit", requeue: "bit" }),
  "confirm.select": row(85, 10, { noWait: "bit" }),
  "confirm.select-ok": row(85, 11, {}),
  "tx.select": row(90, 10, {}),
  "tx.select-ok": row(90, 11, {}),
  "tx.commit": row(90, 20, {}),
  "tx.commit-ok": promise(90, 21, {}),
  "tx.rollback": row(90, 30, {}),
  "tx.rollback-ok": row(90, 31, {}),
} as const;

/** What a method is called: its class and its name there, as in the specification. */
export type MethodName = keyof typeof METHODS;

/** Methods that promise something durable: sent only by what waits for the commit. */
export type PromiseName = {
  [N in MethodName]: (typeof METHODS)[N]["durable"] extends true ? N : never;
}[MethodName];

/** All others, which may be sent at any time. */
export type PlainName = Exclude<MethodName, PromiseName>;

export type Arguments<N extends MethodName> = ArgumentsOf<(typeof METHODS)[N]["fields"]>;

/** A decoded method: a union over all names, so that a switch on `name` types `args`. */
export type Method = { [N in MethodName]: { name: N; args: Arguments<N> } }[MethodName];

/** Of what is looked for without decoding it. */
export const BASIC_CLASS = 60;
export const BASIC_PUBLISH = 40;
export const BASIC_DELIVER = 60;

/** All methods there are. */
export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[];

/** Those that promise something durable. */
export const PROMISE_NAMES = METHOD_NAMES
  .filter((name): name is PromiseName => METHODS[name].durable);

/** The class and method ids of a method, as connection.close and channel.close name it. */
export function idsOf(name: MethodName): { classId: number; methodId: number } {
  return METHODS[name];
}
