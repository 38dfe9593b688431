/** Makes sure that a queue exists, without quarrelling with the one that is there. */
import { ChannelError } from "../errors.ts";
import type { Field } from "../task/task.ts";
import type { Transport } from "./transport.ts";

export type QueueType = "quorum" | "classic";

/** A queue as it should be created when it is missing. Always durable. */
export interface QueueDeclaration {
  readonly name: string;
  readonly arguments: Readonly<Record<string, Field>>;
}

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
  /** The user asked for this type: an existing queue of another one is a conflict. */
  readonly strict: boolean;
  /** false: the queue must be there already. */
  readonly create: boolean;
}

/**
 * Arguments of a work queue of a type: equal to what the tutorial's programs declare, so that both
 * can share it. The older ones declare a classic queue without arguments.
 */
export function queueArguments(type: QueueType): Record<string, Field> {
  return type === "quorum" ? { "x-queue-type": "quorum" } : {};
}

/**
 * Looks the queue up and creates it when it is missing. An existing queue is used as it is.
 *
 * Each step has a channel of its own, because the broker closes the channel on a refusal.
 *
 * @throws {ChannelError} missing and not to be created (404), of another type (406), no permission
 */
export async function ensureQueue(transport: Transport, policy: QueuePolicy): Promise<QueueState> {
  const declaration = { name: policy.name, arguments: queueArguments(policy.type) };
  for (let attempt = 1;; attempt++) {
    try {
      const state = await inspectQueue(transport, policy.name);
      if (policy.strict) await checkType(transport, declaration);
      return state;
    } catch (error) {
      if (!(error instanceof ChannelError) || error.replyCode !== 404 || !policy.create) {
        throw error;
      }
    }
    try {
      return await declareQueue(transport, declaration);
    } catch (error) {
      // Somebody else created it in between, with other arguments: then it exists after all.
      const overtaken = error instanceof ChannelError && error.replyCode === 406;
      if (!overtaken || attempt === 2 || policy.strict) throw error;
    }
  }
}

/**
 * Looks a queue up and creates it when it is missing; one that is there is used as it is.
 *
 * @throws {ChannelError} it may not be used or created
 */
export async function ensureDeclared(
  transport: Transport,
  queue: QueueDeclaration,
): Promise<QueueState> {
  for (let attempt = 1;; attempt++) {
    try {
      return await inspectQueue(transport, queue.name);
    } catch (error) {
      if (!(error instanceof ChannelError) || error.replyCode !== 404) throw error;
    }
    try {
      return await declareQueue(transport, queue);
    } catch (error) {
      // Somebody else created it in between, with other arguments: then it exists after all.
      const overtaken = error instanceof ChannelError && error.replyCode === 406;
      if (!overtaken || attempt === 2) throw error;
    }
  }
}

/** Looks a queue up. @throws {ChannelError} missing (404) */
export function inspectQueue(transport: Transport, name: string): Promise<QueueState> {
  return onThrowawayChannel(
    transport,
    `cannot use the queue ${JSON.stringify(name)}`,
    (channel) =>
      transport.request(
        "queue.declare passive",
        channel.queueDeclare(name, { passive: true }),
      ),
  );
}

/** Creates a durable queue. @throws {ChannelError} it exists with other arguments (406) */
export function declareQueue(
  transport: Transport,
  queue: QueueDeclaration,
): Promise<QueueState> {
  return onThrowawayChannel(
    transport,
    `cannot create the queue ${JSON.stringify(queue.name)}`,
    (channel) =>
      transport.request(
        "queue.declare",
        channel.queueDeclare(
          queue.name,
          { durable: true, autoDelete: false, exclusive: false },
          queue.arguments,
        ),
      ),
  );
}

/** An existing queue may differ in anything but the type that was asked for. */
async function checkType(transport: Transport, queue: QueueDeclaration): Promise<void> {
  try {
    await declareQueue(transport, queue);
  } catch (error) {
    if (!(error instanceof ChannelError) || error.replyCode !== 406) throw error;
    if (!error.replyText.includes("x-queue-type")) return;
    const wanted = queue.arguments["x-queue-type"] ?? "classic";
    throw new ChannelError(
      `the queue ${JSON.stringify(queue.name)} must be of the type ${wanted}, and is of another: ` +
        error.replyText,
      error.replyCode,
      error.replyText,
    );
  }
}

type Channel = Awaited<ReturnType<Transport["openChannel"]>>;

async function onThrowawayChannel<T>(
  transport: Transport,
  action: string,
  use: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = await transport.openChannel();
  try {
    const result = await use(channel);
    // Nobody waits for the answer; if the connection ends first, that is reported elsewhere.
    channel.close().catch(() => {});
    return result;
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
