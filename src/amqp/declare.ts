/** Makes sure that a queue exists, without quarrelling with the one that is there. */
import type { AMQPChannel } from "@cloudamqp/amqp-client/amqp-channel";
import { ChannelError, EXIT } from "../errors.ts";
import type { Field } from "../task/task.ts";
import { type QueueSpec, type QueueType, workQueue } from "../task/topology.ts";
import { OUR_BROKER } from "./protocol.ts";
import type { Transport } from "./transport.ts";

/** What the broker says of a queue. */
export interface QueueState {
  /** Tasks ready for delivery. */
  readonly messageCount: number;
  readonly consumerCount: number;
}

/** How the work queue itself is treated. */
export interface QueuePolicy {
  readonly name: string;
  /** Type for a queue that has to be created. */
  readonly type: QueueType;
  /** Further arguments; an existing queue without them is a conflict. Default none. */
  readonly arguments?: Readonly<Record<string, Field>>;
  /** The user asked for this type: an existing queue of another one is a conflict. */
  readonly strict: boolean;
  /** false: the queue must be there already. */
  readonly create: boolean;
}

/**
 * Makes sure that a work queue is there, as {@linkcode ensureQueue} does.
 *
 * @throws {ChannelError} missing and not to be created (404), of another type (406), no permission
 */
export function ensureWorkQueue(transport: Transport, policy: QueuePolicy): Promise<QueueState> {
  const queue = workQueue(policy.name, policy.type);
  const wanted = policy.arguments ?? {};
  return ensureQueue(transport, {
    name: queue.name,
    arguments: { ...queue.arguments, ...wanted },
    essential: Object.keys(wanted),
  }, policy);
}

/**
 * Looks a queue up and creates it when it is missing. One that is there is used as it is, if it has
 * what is essential.
 *
 * Each step has a channel of its own, because the broker closes the channel on a refusal.
 *
 * @throws {ChannelError} missing and not to be created (404), of another type or without what is
 *   essential (406), no permission
 */
export async function ensureQueue(
  transport: Transport,
  queue: QueueSpec,
  { strict, create }: Pick<QueuePolicy, "strict" | "create"> = { strict: false, create: true },
): Promise<QueueState> {
  for (let attempt = 1;; attempt++) {
    try {
      const state = await inspectQueue(transport, queue.name);
      if (strict) await checkType(transport, queue);
      if (queue.essential?.length) await checkEssentials(transport, queue);
      return state;
    } catch (error) {
      if (!(error instanceof ChannelError) || error.replyCode !== 404 || !create) throw error;
    }
    try {
      return await declareQueue(transport, queue);
    } catch (error) {
      // Somebody else created it in between, with other arguments: then it exists after all.
      const overtaken = error instanceof ChannelError && error.replyCode === 406;
      if (!overtaken || attempt === 2 || strict) throw error;
    }
  }
}

/** The queue is not there; one whose node is down is told with the same reply code. */
export function isMissing(error: unknown): boolean {
  return error instanceof ChannelError && error.exitCode === EXIT.unavailable;
}

/** Looks a queue up. @throws {ChannelError} missing (404) */
export function inspectQueue(transport: Transport, name: string): Promise<QueueState> {
  return declarePassively(transport, name);
}

function declarePassively(
  transport: Transport,
  name: string,
  args?: Readonly<Record<string, Field>>,
): Promise<QueueState> {
  return onThrowawayChannel(
    transport,
    `cannot use the queue ${JSON.stringify(name)}`,
    (channel) =>
      transport.request(
        "queue.declare passive",
        channel.queueDeclare(name, { passive: true }, args),
      ),
  );
}

/**
 * The value of an argument of a queue that is there; undefined: it has none, or the broker does not
 * say which.
 *
 * @throws {ChannelError} missing (404), or its arguments may not be asked for
 */
export async function queueArgument(
  transport: Transport,
  queue: QueueSpec,
  name: string,
): Promise<Field> {
  await inspectQueue(transport, queue.name);
  for await (const { argument, value } of differences(transport, queue)) {
    if (argument === name) return value;
  }
  return queue.arguments[name];
}

/**
 * Whether consumers of a queue get nothing for now; other brokers know no such queues.
 *
 * @throws {ChannelError} missing (404)
 */
export async function isPaused(transport: Transport, name: string): Promise<boolean> {
  if (transport.server.product !== OUR_BROKER) return false;
  try {
    await declarePassively(transport, name, { "x-paused": false });
    return false;
  } catch (error) {
    if (error instanceof ChannelError && error.replyCode === 406) return true;
    throw error;
  }
}

/** When a queue goes away by itself. */
interface Lifetime {
  readonly durable: boolean;
  readonly autoDelete: boolean;
}

const LASTING: Lifetime = { durable: true, autoDelete: false };

/** Looks an exchange up. @throws {ChannelError} missing (404) */
export async function requireExchange(transport: Transport, name: string): Promise<void> {
  await onThrowawayChannel(
    transport,
    `cannot use the exchange ${JSON.stringify(name)}`,
    (channel) =>
      transport.request(
        "exchange.declare passive",
        channel.exchangeDeclare(name, "direct", { passive: true }),
      ),
  );
}

/**
 * Creates a queue, durable unless told otherwise.
 *
 * @throws {ChannelError} it exists with other arguments (406)
 */
export function declareQueue(
  transport: Transport,
  queue: QueueSpec,
  lifetime: Lifetime = LASTING,
): Promise<QueueState> {
  return onThrowawayChannel(
    transport,
    `cannot create the queue ${JSON.stringify(queue.name)}`,
    (channel) =>
      transport.request(
        "queue.declare",
        channel.queueDeclare(
          queue.name,
          { ...lifetime, exclusive: false },
          queue.arguments,
        ),
      ),
  );
}

/** Takes the first message off a queue, if there is one. */
export async function dropMessage(transport: Transport, name: string): Promise<void> {
  await onThrowawayChannel(
    transport,
    `cannot take a message off the queue ${JSON.stringify(name)}`,
    (channel) => transport.request("basic.get", channel.basicGet(name, { noAck: true })),
  );
}

/** Deletes a queue with what it holds, if it is there. */
export async function deleteQueue(transport: Transport, name: string): Promise<void> {
  await onThrowawayChannel(
    transport,
    `cannot delete the queue ${JSON.stringify(name)}`,
    (channel) => transport.request("queue.delete", channel.queueDelete(name)),
  );
}

/** An existing queue may differ in anything but the type that was asked for. */
async function checkType(transport: Transport, queue: QueueSpec): Promise<void> {
  const wanted = queue.arguments["x-queue-type"] ?? "classic";
  for await (const { argument, isLast, refusal } of differences(transport, queue)) {
    const isType = argument === "x-queue-type";
    if (!isType && !isLast) continue;
    const found = isType ? "is of another" : "the broker does not say which it is of";
    throw new ChannelError(
      `the queue ${JSON.stringify(queue.name)} must be of the type ${wanted}, and ${found}: ` +
        refusal.replyText,
      refusal.replyCode,
      refusal.replyText,
    );
  }
}

/** An existing queue may differ in anything but what makes it do its work, as far as one can see. */
async function checkEssentials(transport: Transport, queue: QueueSpec): Promise<void> {
  for await (const { argument, refusal } of differences(transport, queue)) {
    if (argument === undefined || !queue.essential?.includes(argument)) continue;
    throw new ChannelError(
      `the queue ${JSON.stringify(queue.name)} must ${describeEssentials(queue)}, and is another ` +
        `(what it holds must be moved before it is deleted): ${refusal.replyText}`,
      refusal.replyCode,
      refusal.replyText,
    );
  }
}

function describeEssentials({ essential = [], arguments: args }: QueueSpec): string {
  return essential.map((name) => {
    if (name === "durable") return "be durable";
    return args[name] === undefined
      ? `have no ${name}`
      : `have ${name}=${JSON.stringify(args[name])}`;
  }).join(", ");
}

/** One thing in which a queue differs from a declaration. */
interface Difference {
  /** Absent where the broker's words are not understood. */
  readonly argument?: string | undefined;
  /** Of the queue; undefined: it has none, or one that is not understood. */
  readonly value?: Field;
  /** There may be more, but no way to see them. */
  readonly isLast: boolean;
  readonly refusal: ChannelError;
}

/**
 * In what an existing queue differs from a declaration. AMQP has no way to ask for that: the queue
 * is declared as it should be, and what the refusal says about an argument is taken over into the
 * next declaration, until the broker agrees.
 */
async function* differences(
  transport: Transport,
  { name, arguments: args }: QueueSpec,
): AsyncGenerator<Difference> {
  const known = new Set<string>();
  let { durable, autoDelete }: Lifetime = LASTING;
  for (;;) {
    try {
      await declareQueue(transport, { name, arguments: args }, { durable, autoDelete });
      return;
    } catch (refusal) {
      if (!(refusal instanceof ChannelError) || refusal.replyCode !== 406) throw refusal;
      const { argument, value, absent } = readDifference(refusal.replyText) ?? {};
      const unwritable = value === undefined && !absent;
      if (argument === undefined || unwritable || known.has(argument)) {
        yield { argument, value, isLast: true, refusal };
        return;
      }
      yield { argument, value, isLast: false, refusal };
      known.add(argument);
      if (argument === "durable") durable = value === true;
      else if (argument === "auto_delete") autoDelete = value === true;
      else if (value !== undefined) args = { ...args, [argument]: value };
      else args = Object.fromEntries(Object.entries(args).filter(([name]) => name !== argument));
    }
  }
}

/**
 * What a refused declaration (RabbitMQ's rabbit_misc:assert_field_equivalence) says of the queue
 * that is there: "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but
 * current is the value '10' of type 'signedint'". `value` is undefined where it cannot be written,
 * and where there is none.
 */
function readDifference(
  text: string,
): { argument: string; value: Field; absent?: boolean } | undefined {
  const match = text.match(
    /inequivalent arg '([^']+)' .* but current is (?:'(\w+)'|the value '(.*)' of type '(\w+)'|none)/s,
  );
  if (match === null) return undefined;
  const [, argument, flag, value, type] = match as [string, string, string?, string?, string?];
  if (flag !== undefined) return { argument, value: flag === "true" };
  if (value === undefined) return { argument, value: undefined, absent: true };
  if (type === "longstr") return { argument, value };
  if (type === "bool") return { argument, value: value === "true" };
  return { argument, value: /^-?\d+$/.test(value) ? Number(value) : undefined };
}

async function onThrowawayChannel<T>(
  transport: Transport,
  action: string,
  use: (channel: AMQPChannel) => Promise<T>,
): Promise<T> {
  try {
    return await transport.onNewChannel(async (channel) => {
      const result = await use(channel);
      // Nobody waits for the answer; if the connection ends first, that is reported elsewhere.
      channel.close().catch(() => {});
      return result;
    });
  } catch (error) {
    if (!(error instanceof ChannelError)) throw error;
    throw new ChannelError(
      `${action}: ${error.replyText || error.message}`,
      error.replyCode,
      error.replyText,
      { cause: error },
    );
  }
}
