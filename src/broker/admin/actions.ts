/**
 * What is done with a queue and its messages. What happens to a message is a piece: it is here or
 * there.
 */

import { Fault } from "../wire/faults.ts";
import type { Message, Publication } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { DefinitionChanges } from "../store/definitions/definition_changes.ts";
import { compose, revive, tableOf } from "./compose.ts";
import { groupOf, readyOf, requirePlace } from "./lookup.ts";
import { open, type Opened } from "./messages.ts";
import { Refusal } from "./refusal.ts";
import type { Pieces } from "./slices.ts";
import { Unsafe } from "./unsafe.ts";
import type { ActionResult, Selection, Sent } from "../../observe/board.ts";
import { editedProperties } from "../../task/edition.ts";
import { HEADER } from "../../task/headers.ts";
import { schedule } from "../../task/schedule.ts";
import type { TaskRecord } from "../../task/record.ts";
import type { TaskProperties } from "../../task/task.ts";
import { type QueueSpec, workQueue } from "../../task/topology.ts";
import { textOf } from "../wire/fields.ts";

/** Queues that a replay names in its answer. */
const MOST_TARGETS = 20;

/** The messages that are meant, and how many of them are gone. */
function* selected(queue: Queue, selection: Selection): Generator<Message | "gone" | undefined> {
  if ("keys" in selection) {
    for (const key of new Set(selection.keys)) {
      yield queue.messages.find(requirePlace(key)) ?? "gone";
      yield undefined;
    }
    return;
  }
  for (const message of readyOf(queue)) {
    if (message === undefined || "all" in selection) yield message;
    else {
      const content = queue.contentOf(message);
      if (content === undefined) continue;
      const { reason, type } = groupOf(content);
      if (reason === selection.group.reason && type === selection.group.type) yield message;
    }
  }
}

/** Does something with each message that is meant, and still there. */
function* each(
  queue: Queue,
  selection: Selection,
  act: (message: Message) => string | undefined,
): Pieces<ActionResult> {
  let [done, gone, failed] = [0, 0, 0];
  let reason: string | undefined;
  for (const message of selected(queue, selection)) {
    if (message === undefined) {
      yield;
      continue;
    }
    // Others may have been quicker since it was read.
    if (message === "gone" || queue.messages.again(message) === undefined) {
      gone++;
      continue;
    }
    const failure = act(message);
    if (failure === undefined) done++;
    else {
      failed++;
      reason ??= failure;
    }
    yield;
  }
  return { done, gone, failed, ...(reason === undefined ? {} : { reason }) };
}

/** Removes them for good. */
export function* dropMessages(queue: Queue, selection: Selection): Pieces<Unsafe<ActionResult>> {
  if ("all" in selection) return purge(queue);
  return new Unsafe(
    yield* each(queue, selection, (message) => {
      queue.remove(message);
      return undefined;
    }),
  );
}

/** Removes all that are ready. */
export function purge(queue: Queue): Unsafe<ActionResult> {
  return new Unsafe({ done: queue.purge(), gone: 0, failed: 0 });
}

/** Has consumers get nothing, or something again. */
export function setPaused(
  queue: Queue,
  paused: boolean,
  changes: Pick<DefinitionChanges, "setPaused">,
): Unsafe<{ changed: boolean }> {
  const changed = queue.flow.paused !== paused;
  if (changed) {
    queue.flow.paused = paused;
    if (queue.durable) changes.setPaused(queue.identity, paused);
    if (!paused) queue.wake();
  }
  return new Unsafe({ changed });
}

/** Puts dead messages back on the queues that they came from, as if they had never been tried. */
export function* replayMessages(
  vhost: VirtualHost,
  queue: Queue,
  selection: Selection,
): Pieces<Unsafe<ActionResult>> {
  const targets = new Set<string>();
  const result = yield* each(queue, selection, (message) => {
    const content = queue.contentOf(message);
    if (content === undefined) return "it cannot be read";
    const { header, headers } = open(content);
    const name = originOf(queue, headers);
    if (name === undefined) return "it does not say which queue it came from";
    const target = ensureQueue(vhost, workQueue(name));
    if (target === queue) return "it is on the queue that it came from";
    const publication = revive(name, header, headers, content);
    if (isDuplicate(target, publication)) {
      publication.content.notTaken();
      return `queue ${name} has had it, and drops duplicates`;
    }
    if (!target.publish(publication)) return `queue ${name} is full`;
    queue.remove(message);
    if (targets.size < MOST_TARGETS) targets.add(name);
    return undefined;
  });
  return new Unsafe({ ...result, to: [...targets] });
}

function originOf(queue: Queue, headers: ReturnType<typeof open>["headers"]): string | undefined {
  const told = textOf(headers.get(HEADER.originQueue)) ||
    textOf(headers.get("x-first-death-queue"));
  if (told) return told;
  return queue.name.endsWith(".dead") ? queue.name.slice(0, -".dead".length) : undefined;
}

/** Sends a record, and removes what it is an edition of. */
export function sendTask(
  vhost: VirtualHost,
  queueName: string,
  record: TaskRecord,
  instead?: { readonly queue: Queue; readonly key: string },
): Unsafe<Sent> {
  const replaced = instead?.queue.messages.find(requirePlace(instead.key));
  if (instead !== undefined && replaced === undefined) {
    throw new Refusal("conflict", "the message is not there any more: somebody was quicker");
  }
  const id = record.properties.messageId ?? crypto.randomUUID();
  const now = Date.now();
  const old = replaced === undefined ? undefined : requireOpen(instead!.queue, replaced);
  const appId = old?.header.text("appId");
  const properties: TaskProperties = {
    ...old === undefined ? record.properties : editedProperties(record.properties),
    ...appId === undefined ? {} : { appId },
    messageId: id,
    timestamp: new Date(now),
  };
  const waitMs = record.delayMs ?? (record.dueAt === undefined ? 0 : record.dueAt - now);
  const waiting = schedule({ queue: queueName, properties }, waitMs);
  const work = ensureQueue(vhost, workQueue(queueName));
  const target = waiting === undefined ? work : ensureQueue(vhost, waiting.delayQueue);
  const sent = waiting?.properties ?? properties;
  const publication = compose(target.name, record.body, sent, old?.headers);
  // A waiting one comes to the queue with the same headers.
  if (replaced !== undefined && isDuplicate(work, publication)) {
    throw new Refusal(
      "conflict",
      `queue ${
        JSON.stringify(queueName)
      } has had it, and drops duplicates: the message stays as it is`,
    );
  }
  if (!target.publish(publication)) {
    throw new Refusal("conflict", `queue ${JSON.stringify(target.name)} is full and takes no more`);
  }
  if (replaced !== undefined) instead!.queue.remove(replaced);
  return new Unsafe({ id, queue: queueName });
}

/** @throws {Refusal} it cannot be read */
function requireOpen(queue: Queue, message: Message): Opened {
  const content = queue.contentOf(message);
  if (content !== undefined) return open(content);
  throw new Refusal("unavailable", "the message cannot be read from the data file now");
}

/** Whether a queue would drop what is persistent, so that it would be nowhere. */
function isDuplicate({ duplicates, durable }: Queue, publication: Publication): boolean {
  return duplicates?.isDuplicate(publication, durable) ?? false;
}

/** The queue as it is, or a new one. @throws {Refusal} */
function ensureQueue(vhost: VirtualHost, { name, arguments: args }: QueueSpec): Queue {
  try {
    const flags = { durable: true, exclusive: false, autoDelete: false };
    return vhost.findQueue(name) ?? vhost.declareQueue(name, flags, tableOf(args), 0);
  } catch (error) {
    if (error instanceof Fault) throw new Refusal("conflict", error.message);
    throw error;
  }
}
