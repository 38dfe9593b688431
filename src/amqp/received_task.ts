/** A task as the broker delivered it. */
import type { AMQPMessage } from "@cloudamqp/amqp-client/amqp-message";
import type { Task } from "../task/task.ts";
import { receivedProperties } from "./client/assembly.ts";

const NOTHING = new Uint8Array();

/** @param queue that it came from */
export function taskOf(message: AMQPMessage, queue: string): Task {
  const { body, exchange, properties, redelivered, routingKey } = message;
  return {
    id: properties.messageId ?? "",
    body: body ?? NOTHING,
    properties,
    receivedProperties: receivedProperties(message),
    queue,
    exchange,
    routingKey,
    redelivered,
  };
}
