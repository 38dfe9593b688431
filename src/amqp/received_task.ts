/** A task as the broker delivered it. */
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import type { ReceivedTask, TaskProperties } from "../task/task.ts";
import { incoming, receivedProperties } from "./client/assembly.ts";
import type { IncomingMessage } from "./client/incoming_message.ts";
import { readPlain } from "./client/plain_content.ts";
import { textAt } from "./client/view.ts";

const NOTHING = new Uint8Array();

/** @param queue that it came from */
export function taskOf(message: AMQPMessage, queue: string): ReceivedTask {
  if (incoming(message).isPlain) return new PlainTask(incoming(message), queue);
  const { exchange, properties, redelivered, routingKey } = message;
  return {
    id: properties.messageId ?? "",
    body: bodyOf(incoming(message)),
    properties,
    receivedProperties: receivedProperties(message),
    queue,
    exchange,
    routingKey,
    redelivered,
  };
}

function bodyOf({ body, bodyPos, bodyStart, isLeftOut }: IncomingMessage): Uint8Array {
  if (body === null || isLeftOut) return NOTHING;
  return bodyPos === body.length ? body : body.subarray(bodyStart, bodyStart + bodyPos);
}

/**
 * A task with plain properties, which stay bytes until somebody asks for them: what is made of a task
 * that nobody looks at costs more than all else that is done with it.
 */
class PlainTask implements ReceivedTask {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  /** Its properties are in there, between start and end. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** 0: it has none. */
  readonly #idStart: number;
  /** All of it, or what has it from start on. */
  readonly #body: Uint8Array;
  readonly #bodyStart: number;
  readonly #bodyBytes: number;
  #id: string | undefined = undefined;
  #properties: TaskProperties | undefined = undefined;

  constructor(message: IncomingMessage, queue: string) {
    this.queue = queue;
    this.exchange = message.exchange;
    this.routingKey = message.routingKey;
    this.redelivered = message.redelivered;
    this.bytes = message.received!;
    this.start = message.receivedStart;
    this.end = message.receivedEnd;
    this.#idStart = message.idStart;
    this.#body = message.isLeftOut ? NOTHING : message.body!;
    this.#bodyStart = message.bodyStart;
    this.#bodyBytes = message.isLeftOut ? 0 : message.bodyPos;
  }

  get isPlain(): boolean {
    return true;
  }

  get hasId(): boolean {
    return this.#idStart > 0;
  }

  get id(): string {
    if (this.#idStart === 0) return "";
    return this.#id ??= textAt(this.bytes, this.#idStart, this.end);
  }

  get properties(): TaskProperties {
    return this.#properties ??= readPlain(this.bytes, this.start, this.end);
  }

  get receivedIn(): this {
    return this;
  }

  get receivedProperties(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }

  get body(): Uint8Array {
    const body = this.#body;
    // Its own array, which may be freed meanwhile.
    if (this.#bodyStart === 0 && body.length <= this.#bodyBytes) return body;
    return body.subarray(this.#bodyStart, this.#bodyStart + this.#bodyBytes);
  }
}
