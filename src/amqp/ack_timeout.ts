/** Brokers take back a task that nobody acknowledges in time; RabbitMQ does so after half an hour. */
import { ChannelError, type ToolError } from "../errors.ts";

/** Whether a broker ended the channel because an acknowledgement took too long. */
export function isAckTimeout(error: ToolError): boolean {
  return error instanceof ChannelError && error.replyCode === 406 &&
    /delivery acknowledgement .*timed out/.test(error.replyText);
}

/**
 * What to do about it, as the end of a sentence.
 *
 * @param neededMs how long the broker ought to wait
 */
export function ackTimeoutRemedy(queue: string, vhost: string, neededMs: number): string {
  const pattern = `^${queue.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`;
  const definition = JSON.stringify({ "consumer-timeout": neededMs });
  const words = [vhost, `${queue}.ack-timeout`, pattern, definition].map(shellQuote).join(" ");
  const command = `rabbitmqctl set_policy -p ${words} --apply-to queues`;
  return `make it wait longer with ${command} (RabbitMQ 3.12 or newer) ` +
    `or consumer_timeout = ${neededMs} in rabbitmq.conf, or use --ack early (at most once)`;
}

function shellQuote(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
