/** AMQP 0-9-1's methods, content headers and frames as data, for tests. */
import { type Table, WireReader, WireWriter } from "./wire.ts";

/** The properties of class basic, in wire order; `timestamp` is in seconds. */
export interface Properties {
  contentType?: string;
  contentEncoding?: string;
  headers?: Table;
  deliveryMode?: number;
  priority?: number;
  correlationId?: string;
  replyTo?: string;
  expiration?: string;
  messageId?: string;
  timestamp?: number;
  type?: string;
  userId?: string;
  appId?: string;
  clusterId?: string;
}

const PROPERTIES: readonly [keyof Properties, FieldType][] = [
  ["contentType", "shortstr"],
  ["contentEncoding", "shortstr"],
  ["headers", "table"],
  ["deliveryMode", "octet"],
  ["priority", "octet"],
  ["correlationId", "shortstr"],
  ["replyTo", "shortstr"],
  ["expiration", "shortstr"],
  ["messageId", "shortstr"],
  ["timestamp", "longlong"],
  ["type", "shortstr"],
  ["userId", "shortstr"],
  ["appId", "shortstr"],
  ["clusterId", "shortstr"],
];

export type FieldType =
  | "octet"
  | "short"
  | "long"
  | "longlong"
  | "shortstr"
  | "longstr"
  | "table"
  | "bit";

export const FRAME = { method: 1, header: 2, body: 3, heartbeat: 8, end: 0xce } as const;

/** Name, class id, method id, arguments as name:type. */
const METHODS = `
connection.start 10 10 versionMajor:octet versionMinor:octet serverProperties:table mechanisms:longstr locales:longstr
connection.start-ok 10 11 clientProperties:table mechanism:shortstr response:longstr locale:shortstr
connection.secure 10 20 challenge:longstr
connection.secure-ok 10 21 response:longstr
connection.tune 10 30 channelMax:short frameMax:long heartbeat:short
connection.tune-ok 10 31 channelMax:short frameMax:long heartbeat:short
connection.open 10 40 virtualHost:shortstr reserved1:shortstr reserved2:bit
connection.open-ok 10 41 reserved1:shortstr
connection.close 10 50 replyCode:short replyText:shortstr classId:short methodId:short
connection.close-ok 10 51
connection.blocked 10 60 reason:shortstr
connection.unblocked 10 61
connection.update-secret 10 70 newSecret:longstr reason:shortstr
connection.update-secret-ok 10 71
channel.open 20 10 reserved1:shortstr
channel.open-ok 20 11 reserved1:longstr
channel.flow 20 20 active:bit
channel.flow-ok 20 21 active:bit
channel.close 20 40 replyCode:short replyText:shortstr classId:short methodId:short
channel.close-ok 20 41
exchange.declare 40 10 reserved1:short exchange:shortstr type:shortstr passive:bit durable:bit autoDelete:bit internal:bit noWait:bit arguments:table
exchange.declare-ok 40 11
exchange.delete 40 20 reserved1:short exchange:shortstr ifUnused:bit noWait:bit
exchange.delete-ok 40 21
exchange.bind 40 30 reserved1:short destination:shortstr source:shortstr routingKey:shortstr noWait:bit arguments:table
exchange.bind-ok 40 31
exchange.unbind 40 40 reserved1:short destination:shortstr source:shortstr routingKey:shortstr noWait:bit arguments:table
exchange.unbind-ok 40 51
queue.declare 50 10 reserved1:short queue:shortstr passive:bit durable:bit exclusive:bit autoDelete:bit noWait:bit arguments:table
queue.declare-ok 50 11 queue:shortstr messageCount:long consumerCount:long
queue.bind 50 20 reserved1:short queue:shortstr exchange:shortstr routingKey:shortstr noWait:bit arguments:table
queue.bind-ok 50 21
queue.purge 50 30 reserved1:short queue:shortstr noWait:bit
queue.purge-ok 50 31 messageCount:long
queue.delete 50 40 reserved1:short queue:shortstr ifUnused:bit ifEmpty:bit noWait:bit
queue.delete-ok 50 41 messageCount:long
queue.unbind 50 50 reserved1:short queue:shortstr exchange:shortstr routingKey:shortstr arguments:table
queue.unbind-ok 50 51
basic.qos 60 10 prefetchSize:long prefetchCount:short global:bit
basic.qos-ok 60 11
basic.consume 60 20 reserved1:short queue:shortstr consumerTag:shortstr noLocal:bit noAck:bit exclusive:bit noWait:bit arguments:table
basic.consume-ok 60 21 consumerTag:shortstr
basic.cancel 60 30 consumerTag:shortstr noWait:bit
basic.cancel-ok 60 31 consumerTag:shortstr
basic.publish 60 40 reserved1:short exchange:shortstr routingKey:shortstr mandatory:bit immediate:bit
basic.return 60 50 replyCode:short replyText:shortstr exchange:shortstr routingKey:shortstr
basic.deliver 60 60 consumerTag:shortstr deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr
basic.get 60 70 reserved1:short queue:shortstr noAck:bit
basic.get-ok 60 71 deliveryTag:longlong redelivered:bit exchange:shortstr routingKey:shortstr messageCount:long
basic.get-empty 60 72 reserved1:shortstr
basic.ack 60 80 deliveryTag:longlong multiple:bit
basic.reject 60 90 deliveryTag:longlong requeue:bit
basic.recover-async 60 100 requeue:bit
basic.recover 60 110 requeue:bit
basic.recover-ok 60 111
basic.nack 60 120 deliveryTag:longlong multiple:bit requeue:bit
confirm.select 85 10 noWait:bit
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
`;

interface MethodRow {
  readonly name: string;
  readonly classId: number;
  readonly methodId: number;
  readonly fields: readonly (readonly [string, FieldType])[];
}

const rows: readonly MethodRow[] = METHODS.trim().split("\n").map((line) => {
  const [name, classId, methodId, ...fields] = line.split(" ");
  return {
    name: name!,
    classId: Number(classId),
    methodId: Number(methodId),
    fields: fields.map((field) => field.split(":") as [string, FieldType]),
  };
});
const rowByName = new Map(rows.map((row) => [row.name, row]));
const rowById = new Map(rows.map((row) => [row.classId << 16 | row.methodId, row]));

// deno-lint-ignore no-explicit-any -- arguments differ by method; assertions check them
export type Arguments = Record<string, any>;

/** The ids of a method, as connection.close and channel.close name the failing one. */
export function methodIds(name: string): { classId: number; methodId: number } {
  const { classId, methodId } = rowByName.get(name)!;
  return { classId, methodId };
}

/** All methods that there are here. */
export const METHOD_NAMES: readonly string[] = rows.map(({ name }) => name);

/** The arguments of a method: name and type. */
export function fieldsOf(name: string): readonly (readonly [string, FieldType])[] {
  return rowByName.get(name)!.fields;
}

/** A method's payload. Arguments that are not given are 0, false, "" or an empty table. */
export function encodeMethod(name: string, args: Arguments = {}): Uint8Array<ArrayBuffer> {
  const row = rowByName.get(name);
  if (!row) throw new Error(`No method ${name}`);
  for (const given of Object.keys(args)) {
    if (!row.fields.some(([field]) => field === given)) throw new Error(`${name} has no ${given}`);
  }
  const out = new WireWriter();
  out.short(row.classId);
  out.short(row.methodId);
  let bits = 0;
  let bitCount = 0;
  for (const [field, type] of row.fields) {
    if (type === "bit") {
      if (args[field]) bits |= 1 << bitCount;
      bitCount++;
      continue;
    }
    if (bitCount > 0) out.octet(bits);
    bits = bitCount = 0;
    if (type === "table") out.table(args[field] ?? {});
    else if (type === "shortstr" || type === "longstr") out[type](args[field] ?? "");
    else out[type](args[field] ?? 0);
  }
  if (bitCount > 0) out.octet(bits);
  return out.take();
}

export function decodeMethod(payload: Uint8Array): { name: string; args: Arguments } {
  const reader = new WireReader(payload);
  const id = reader.short() << 16 | reader.short();
  const row = rowById.get(id);
  if (!row) throw new Error(`Unknown method ${id >> 16}.${id & 0xffff}`);
  const args: Arguments = {};
  let bits = 0;
  let bitCount = 0;
  for (const [field, type] of row.fields) {
    if (type === "bit") {
      if (bitCount % 8 === 0) bits = reader.octet();
      args[field] = (bits >> bitCount++ % 8 & 1) === 1;
      continue;
    }
    bitCount = 0;
    args[field] = reader[type]();
  }
  return { name: row.name, args };
}

/** The payload of a content header frame. */
export function encodeHeader(
  bodySize: number,
  properties: Properties = {},
  classId = 60,
): Uint8Array<ArrayBuffer> {
  const out = new WireWriter();
  out.short(classId);
  out.short(0);
  out.longlong(bodySize);
  let flags = 0;
  PROPERTIES.forEach(([name], i) => {
    if (properties[name] !== undefined) flags |= 0x8000 >> i;
  });
  out.short(flags);
  for (const [name, type] of PROPERTIES) {
    const value = properties[name];
    if (value !== undefined) out[type as "table"](value as Table);
  }
  return out.take();
}

export function decodeHeader(
  payload: Uint8Array,
  types = false,
): { bodySize: number; properties: Properties } {
  const reader = new WireReader(payload, types);
  reader.short();
  reader.short();
  const bodySize = Number(reader.longlong());
  const flags = reader.short();
  const properties: Record<string, unknown> = {};
  PROPERTIES.forEach(([name, type], i) => {
    if ((flags & 0x8000 >> i) !== 0) properties[name] = reader[type as "table"]();
  });
  return { bodySize, properties: properties as Properties };
}

/** A whole frame, its end octet included. */
export function encodeFrame(
  type: number,
  channel: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const out = new WireWriter();
  out.octet(type);
  out.short(channel);
  out.longstr(payload);
  out.octet(FRAME.end);
  return out.take();
}
