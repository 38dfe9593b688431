/**
 * A task is one message on a work queue: body (bytes) plus properties. Its id is `message_id` and
 * stays the same over retries. The words for what becomes of it are in docs/architecture.md.
 */
import type { AMQPProperties } from "@cloudamqp/amqp-client/amqp-properties";

/** A value in an AMQP table as this project hands it around. */
export type { Field } from "@cloudamqp/amqp-client/amqp-properties";

/** The properties of AMQP 0-9-1's basic class; `expiration` is in milliseconds, as a string. */
export type TaskProperties = AMQPProperties;

/** Of properties, by what the client's package calls them: a dozen. */
const amqpNames = new Map<string, string>();

/** What AMQP calls a property that the client's package calls "contentType": "content_type". */
export function amqpName(property: string): string {
  let name = amqpNames.get(property);
  if (name === undefined) {
    name = property.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    amqpNames.set(property, name);
  }
  return name;
}

/**
 * A task as a worker sees it. Some of it is read only when it is asked for: a copy by `...` would
 * leave that out.
 */
export interface Task {
  /** `message_id`, or "" when the sender gave none. */
  readonly id: string;
  /** Exactly the bytes that were sent. Nobody writes to them: another attempt gets the same. */
  readonly body: Uint8Array;
  /** As they came, headers included. */
  readonly properties: TaskProperties;
  /** The queue it was taken from. */
  readonly queue: string;
  /** The exchange it was published with; "" for the default one. */
  readonly exchange: string;
  /** The routing key it was published with. */
  readonly routingKey: string;
  /** The broker has delivered it before, to us or to another worker. */
  readonly redelivered: boolean;
}

/** A task as it came from a broker, with what it takes to copy it as it came. */
export interface ReceivedTask extends Task {
  /** Its properties as bytes of AMQP, for copies; absent where they could not be read. */
  readonly receivedProperties?: Uint8Array | undefined;
  /** Where those bytes are, in an array for many; absent: nobody knows. */
  readonly receivedIn?: {
    readonly bytes: Uint8Array;
    readonly start: number;
    readonly end: number;
  };
  /** It has neither headers nor an expiration nor a user; absent: its properties tell. */
  readonly isPlain?: boolean;
  /** Absent: its id tells. */
  readonly hasId?: boolean;
}

/** Whether the sender gave it an id, which is not read for that. */
export function hasId(task: ReceivedTask): boolean {
  return task.hasId ?? task.id !== "";
}

/** The same task with other properties. */
export function withProperties(task: ReceivedTask, properties: TaskProperties): ReceivedTask {
  const { id, body, receivedProperties, queue, exchange, routingKey, redelivered } = task;
  return { id, body, properties, receivedProperties, queue, exchange, routingKey, redelivered };
}
