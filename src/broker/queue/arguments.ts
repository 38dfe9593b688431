/** The `x-` arguments of a queue: checked in RabbitMQ's words, then plain values. */

import type { QueueType } from "../../task/topology.ts";
import { preconditionFailed } from "../wire/faults.ts";
import { type Field, integerOf, type Table, textOf } from "../wire/fields.ts";
import { DEDUPLICATION_HEADER } from "../../task/duplicates.ts";

type OverflowBehaviour = "drop-head" | "reject-publish" | "reject-publish-dlx";

export interface QueueArguments {
  type: QueueType;
  /** Milliseconds. */
  messageTtl: number | undefined;
  /** Milliseconds without use after which the queue is deleted. */
  expires: number | undefined;
  maxLength: number | undefined;
  maxLengthBytes: number | undefined;
  overflow: OverflowBehaviour;
  deadLetterExchange: string | undefined;
  deadLetterRoutingKey: string | undefined;
  /** Keep a dead letter that cannot be routed, instead of dropping it. */
  deadLetterAtLeastOnce: boolean;
  maxPriority: number | undefined;
  singleActiveConsumer: boolean;
  /** Returns to the queue after which a message is dead; N means N + 1 deliveries. */
  deliveryLimit: number | undefined;
  /** Milliseconds a delivery may stay unacknowledged, if it differs from the broker's. */
  consumerTimeout: number | undefined;
  /** Present: messages that the queue has had are dropped. */
  duplicates: DuplicateArguments | undefined;
}

/** As LavinMQ has them, with RabbitMQ's plugin for the name of the first. */
export interface DuplicateArguments {
  /** The header by which they are told. */
  header: string;
  /** Values that are remembered. */
  size: number;
  /** Milliseconds for which they are; undefined: as long as there is room. */
  ttl: number | undefined;
}

const DUPLICATES_SIZE = 128;
/** They are in memory, and go with their queue in one commit. */
const MAX_DUPLICATES_SIZE = 100_000;

/** Whether so many messages, or bytes of their bodies, are more than may be ready. */
export function isTooLong(
  { maxLength = Infinity, maxLengthBytes = Infinity }: QueueArguments,
  count: number,
  bytes: number,
): boolean {
  return count > maxLength || bytes > maxLengthBytes;
}

/** RabbitMQ's longest timer: ten years, in milliseconds. */
const MAX_TIMER = 315_360_000_000;

type Check = (field: Field, table: Table, where: Where) => string | undefined;

/** How error texts name the place of an argument. */
interface Where {
  argument: string;
  queue: string;
}

interface Rule {
  check: Check;
  /** Queue types that know the argument; absent for all. */
  only?: QueueType | "stream";
}

/**
 * In the order in which RabbitMQ looks at them. A check returns the reason of a refusal, as RabbitMQ
 * prints it.
 */
const RULES: Record<string, Rule> = {
  "x-expires": { check: positiveTimer },
  "x-message-ttl": { check: timer },
  "x-dead-letter-exchange": { check: exchangeName },
  "x-dead-letter-routing-key": { check: deadLetterRoutingKey },
  "x-dead-letter-strategy": {
    check: oneOf("invalid_dlx_strategy", ["at-most-once", "at-least-once"]),
    only: "quorum",
  },
  "x-max-length": { check: notNegative },
  "x-max-length-bytes": { check: notNegative },
  "x-max-in-memory-length": { check: notNegative, only: "quorum" },
  "x-max-in-memory-bytes": { check: notNegative, only: "quorum" },
  "x-max-priority": { check: priorityLevels, only: "classic" },
  "x-overflow": {
    check: oneOf("invalid_overflow", ["drop-head", "reject-publish", "reject-publish-dlx"]),
  },
  "x-queue-mode": { check: named("queue mode", ["default", "lazy"]), only: "classic" },
  "x-queue-version": { check: queueVersion, only: "classic" },
  "x-single-active-consumer": { check: flag },
  "x-quorum-initial-group-size": { check: notNegative, only: "quorum" },
  "x-max-age": { check: accepted, only: "stream" },
  "x-stream-max-segment-size-bytes": { check: accepted, only: "stream" },
  "x-initial-cluster-size": { check: accepted, only: "stream" },
  "x-queue-leader-locator": {
    check: oneOf("invalid_queue_locator_arg", [
      "client-local",
      "balanced",
      "random",
      "least-leaders",
    ]),
    only: "quorum",
  },
  "x-queue-master-locator": { check: accepted, only: "classic" },
  "x-delivery-limit": { check: accepted, only: "quorum" },
  "x-message-deduplication": { check: flag },
  "x-cache-size": { check: cacheSize },
  "x-cache-ttl": { check: positiveTimer },
  [DEDUPLICATION_HEADER]: { check: headerName },
};

function accepted(): undefined {
  return undefined;
}

function integer(field: Field): string | undefined {
  return integerOf(field) === undefined ? `"expected integer, got ${field.type}"` : undefined;
}

function notNegative(field: Field): string | undefined {
  const value = integerOf(field);
  if (value === undefined) return integer(field);
  return value < 0 ? `{value_negative,${value}}` : undefined;
}

function timer(field: Field): string | undefined {
  const reason = notNegative(field);
  if (reason !== undefined) return reason;
  const value = integerOf(field)!;
  return value > MAX_TIMER ? `{value_too_large,${value}}` : undefined;
}

function positiveTimer(field: Field): string | undefined {
  return integerOf(field) === 0 ? "{value_zero,0}" : timer(field);
}

function priorityLevels(field: Field): string | undefined {
  const reason = notNegative(field);
  if (reason !== undefined) return reason;
  const value = integerOf(field)!;
  return value > 255 ? `{max_value_exceeded,${value}}` : undefined;
}

function cacheSize(field: Field): string | undefined {
  const reason = notNegative(field);
  if (reason !== undefined) return reason;
  const value = integerOf(field)!;
  if (value === 0) return "{value_zero,0}";
  return value > MAX_DUPLICATES_SIZE ? `{max_value_exceeded,${value}}` : undefined;
}

function headerName(field: Field): string | undefined {
  return field.type === "longstr" ? undefined : `{unacceptable_type,${field.type}}`;
}

function exchangeName(field: Field, _table: Table, { argument, queue }: Where): undefined {
  if (field.type === "longstr") return undefined;
  throw preconditionFailed(`invalid type '${field.type}' for arg '${argument}' in ${queue}`);
}

function deadLetterRoutingKey(field: Field, table: Table): string | undefined {
  if (field.type !== "longstr") return `{unacceptable_type,${field.type}}`;
  return table.has("x-dead-letter-exchange") ? undefined : "routing_key_but_no_dlx_defined";
}

function flag(field: Field): string | undefined {
  return field.type === "bool" ? undefined : `{unacceptable_type,${field.type}}`;
}

function oneOf(reason: string, allowed: string[]): Check {
  return (field) => {
    if (field.type !== "longstr") return `{unacceptable_type,${field.type}}`;
    return allowed.includes(field.value) ? undefined : reason;
  };
}

function named(what: string, allowed: string[]): Check {
  return (field) => {
    if (field.type !== "longstr") return `{unacceptable_type,${field.type}}`;
    return allowed.includes(field.value) ? undefined : `"unsupported ${what} '${field.value}'"`;
  };
}

function queueVersion(field: Field): string | undefined {
  const value = integerOf(field);
  if (value === undefined) return integer(field);
  return value === 1 || value === 2 ? undefined : `"unsupported queue version '${value}'"`;
}

/** Whether a queue keeps a publication over a restart: a quorum queue does whatever its delivery mode. */
export function isKept(
  queue: { readonly durable: boolean; readonly arguments: QueueArguments },
  publication: { readonly persistent: boolean },
): boolean {
  return queue.durable && (publication.persistent || queue.arguments.type === "quorum");
}

/** What a queue was declared as, besides its arguments. */
export interface QueueFlags {
  durable: boolean;
  exclusive: boolean;
  autoDelete: boolean;
}

export interface QueueIdentity extends QueueFlags {
  /** Row id, or 0 for a queue that does not survive a restart. */
  id: number;
  vhost: string;
  name: string;
  /** The connection that an exclusive queue belongs to. */
  ownerId: number | undefined;
  table: Table;
}

/**
 * @param queue the queue in error texts: `queue 'tasks' in vhost '/'`
 * @throws {Fault} precondition-failed
 */
export function parseQueueArguments(
  table: Table,
  flags: QueueFlags,
  queue: string,
): QueueArguments {
  if (table.size === 0) return NO_ARGUMENTS;
  const type = parseType(table, queue);
  for (const argument in RULES) {
    const field = table.get(argument);
    if (field === undefined || !isKnown(argument, type)) continue;
    refuse(argument, queue, RULES[argument]!.check(field, table, { argument, queue }));
  }
  for (const argument of table.keys()) {
    if (isKnown(argument, type)) continue;
    throw preconditionFailed(
      `invalid arg '${argument}' for ${queue} of queue type rabbit_${type}_queue`,
    );
  }
  if (type === "quorum") checkQuorumFlags(flags, queue);
  return valuesOf(table, type);
}

/** Those of most queues, of which there may be very many. */
const NO_ARGUMENTS = valuesOf(new Map(), "classic");

/** What RabbitMQ has never heard of is fine everywhere. */
function isKnown(argument: string, type: QueueType): boolean {
  const only = RULES[argument]?.only;
  return only === undefined || only === type;
}

/** Arguments in which two declarations of a queue of this type must agree, besides the type. */
export function comparedArguments(type: QueueType): string[] {
  return Object.keys(RULES).filter((argument) => isKnown(argument, type));
}

/** @throws {Fault} precondition-failed for queue types whose queues must be given a name */
export function refuseServerName(table: Table): void {
  const type = textOf(table.get("x-queue-type"));
  if (type !== "quorum") return;
  throw preconditionFailed(`Cannot declare a server-named queue for type rabbit_${type}_queue`);
}

function refuse(argument: string, queue: string, reason: string | undefined): void {
  if (reason === undefined) return;
  throw preconditionFailed(`invalid arg '${argument}' for ${queue}: ${reason}`);
}

function parseType(table: Table, queue: string): QueueType {
  const field = table.get("x-queue-type");
  if (field === undefined) return "classic";
  const type = textOf(field);
  if (type === "classic" || type === "quorum") return type;
  const reason = type === undefined
    ? `{unacceptable_type,${field.type}}`
    : `"unsupported queue type '${type}'"`;
  throw preconditionFailed(`invalid arg 'x-queue-type' for ${queue}: ${reason}`);
}

function checkQuorumFlags(flags: QueueFlags, queue: string): void {
  const property = flags.autoDelete
    ? "auto-delete"
    : flags.exclusive
    ? "exclusive-owner"
    : !flags.durable
    ? "non-durable"
    : undefined;
  if (property === undefined) return;
  throw preconditionFailed(`invalid property '${property}' for ${queue}`);
}

function valuesOf(table: Table, type: QueueType): QueueArguments {
  const singleActive = table.get("x-single-active-consumer");
  const deadLetterExchange = textOf(table.get("x-dead-letter-exchange"));
  const overflow = (textOf(table.get("x-overflow")) ?? "drop-head") as OverflowBehaviour;
  const deliveryLimit = integerOf(table.get("x-delivery-limit"));
  return {
    type,
    messageTtl: integerOf(table.get("x-message-ttl")),
    expires: integerOf(table.get("x-expires")),
    maxLength: integerOf(table.get("x-max-length")),
    maxLengthBytes: integerOf(table.get("x-max-length-bytes")),
    overflow,
    deadLetterExchange,
    deadLetterRoutingKey: textOf(table.get("x-dead-letter-routing-key")),
    // RabbitMQ falls back to at-most-once, with a warning, unless publishes are rejected as well.
    deadLetterAtLeastOnce: textOf(table.get("x-dead-letter-strategy")) === "at-least-once" &&
      deadLetterExchange !== undefined && overflow === "reject-publish",
    maxPriority: integerOf(table.get("x-max-priority")),
    singleActiveConsumer: singleActive?.type === "bool" && singleActive.value,
    deliveryLimit: deliveryLimit !== undefined && deliveryLimit >= 0 ? deliveryLimit : undefined,
    consumerTimeout: integerOf(table.get("x-consumer-timeout")),
    duplicates: duplicatesOf(table),
  };
}

function duplicatesOf(table: Table): DuplicateArguments | undefined {
  const wanted = table.get("x-message-deduplication");
  if (wanted?.type !== "bool" || !wanted.value) return undefined;
  return {
    header: textOf(table.get(DEDUPLICATION_HEADER)) ?? DEDUPLICATION_HEADER,
    size: integerOf(table.get("x-cache-size")) ?? DUPLICATES_SIZE,
    ttl: integerOf(table.get("x-cache-ttl")),
  };
}
