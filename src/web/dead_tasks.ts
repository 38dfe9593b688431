/**
 * Dead tasks of a broker that AMQP alone tells of: they are looked at by taking them and giving them
 * back, one look after the other.
 */
import { plainField } from "../amqp/plain_field.ts";
import type { Transport } from "../amqp/transport.ts";
import { encodeBase64 } from "../observe/base64.ts";
import {
  type ActionResult,
  type GroupPage,
  type ListRequest,
  type MessageDetail,
  type MessageInfo,
  type MessagePage,
  PREVIEW_BYTES,
  type Selection,
  SHOWN_BYTES,
} from "../observe/board.ts";
import { Problem } from "../observe/problem.ts";
import { HEADER, originQueue } from "../task/headers.ts";
import { editedProperties, unedited } from "../task/edition.ts";
import { amqpName, type Task, type TaskProperties } from "../task/task.ts";
import { type QueueType, roleOf } from "../task/topology.ts";
import { DeadQueue, type DeadSelection } from "../worker/dead.ts";

/** Tasks that are looked at. */
const MOST_LOOKED = 5_000;

export class DeadTasks {
  readonly #connect: () => Promise<Transport>;
  readonly #queueType: QueueType;
  /** The look that is under way. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(connect: () => Promise<Transport>, queueType: QueueType) {
    this.#connect = connect;
    this.#queueType = queueType;
  }

  /** @throws {Problem} 409: it is no dead queue */
  #inTurn<T>(name: string, act: (queue: DeadQueue) => Promise<T>): Promise<T> {
    const { kind, of } = roleOf(name);
    if (kind !== "dead") {
      throw new Problem(409, "only dead tasks can be looked at here: AMQP takes what it shows");
    }
    const turn = this.#last.then(async () => await act(new DeadQueue(await this.#connect(), of)));
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #tasks(name: string): Promise<Task[]> {
    const tasks: Task[] = [];
    await this.#inTurn(name, (queue) => {
      return queue.list({ max: MOST_LOOKED }, (task) => void tasks.push(task));
    });
    return tasks;
  }

  async list(name: string, { end, limit }: ListRequest): Promise<MessagePage> {
    const tasks = await this.#tasks(name);
    if (end === "newest") tasks.reverse();
    return { messages: tasks.slice(0, limit).map(describe) };
  }

  /** @throws {Problem} 409 */
  async #find(name: string, key: string): Promise<Task> {
    const task = (await this.#tasks(name)).find((task) => keyOf(task) === key);
    if (task !== undefined) return task;
    throw new Problem(409, "the task is not there any more: somebody was quicker");
  }

  /** Properties of an edited task, in the place of one that is there. @throws {Problem} 409 */
  async edited(name: string, key: string, given: TaskProperties): Promise<TaskProperties> {
    const { headers: old = {}, appId } = (await this.#find(name, key)).properties;
    const { headers = {}, ...properties } = editedProperties(given);
    const kept = unedited(headers, plainField(old) as Record<string, unknown>);
    return {
      ...properties,
      ...(appId === undefined ? {} : { appId }),
      headers: { ...headers, ...Object.fromEntries(kept.map((name) => [name, old[name]])) },
    };
  }

  async show(name: string, key: string): Promise<MessageDetail> {
    const task = await this.#find(name, key);
    const { headers = {}, timestamp, ...properties } = task.properties;
    const shown = task.body.subarray(0, SHOWN_BYTES);
    return {
      ...describe(task),
      exchange: task.exchange,
      routingKey: task.routingKey,
      durable: true,
      properties: {
        ...Object.fromEntries(
          Object.entries(properties).map(([name, value]) => [amqpName(name), value]),
        ),
        ...(timestamp === undefined ? {} : { timestamp: timestamp.toISOString() }),
      },
      headers: plainField(headers) as Record<string, unknown>,
      bodyBase64: encodeBase64(shown),
      bodyCut: shown.length < task.body.length,
    };
  }

  async groups(name: string): Promise<GroupPage> {
    const tasks = await this.#tasks(name);
    const groups = Map.groupBy(tasks, (task) => JSON.stringify(groupOf(task)));
    return {
      groups: [...groups.values()].map((group) => {
        const error = textIn(group[0]!, HEADER.error);
        return {
          ...groupOf(group[0]!),
          count: group.length,
          ...(error === undefined ? {} : { error }),
        };
      }).sort((one, other) => other.count - one.count),
      looked: tasks.length,
      cut: tasks.length === MOST_LOOKED,
    };
  }

  async replay(name: string, selection: Selection): Promise<ActionResult> {
    const targets = new Set<string>();
    let kept = 0;
    const done = await this.#inTurn(name, (queue) =>
      queue.replay({
        max: Infinity,
        dryRun: false,
        maxReplays: Infinity,
        queueType: this.#queueType,
        ...chosenBy(selection),
        onTask: (task, fate) => {
          if (fate === "kept") kept++;
          targets.add(originQueue(task.properties) ?? roleOf(name).of);
        },
      }));
    return { done, gone: goneOf(selection, done), failed: kept, to: [...targets].slice(0, 20) };
  }

  async drop(name: string, selection: Selection): Promise<ActionResult> {
    const done = await this.#inTurn(name, (queue) => {
      return queue.purge({ max: Infinity, ...chosenBy(selection) }, () => {}, false);
    });
    return { done, gone: goneOf(selection, done), failed: 0 };
  }
}

/** Chosen while they are looked at: what was given back a moment ago may not be there to be taken. */
function chosenBy(selection: Selection): Omit<DeadSelection, "max"> {
  if ("all" in selection) return {};
  if ("keys" in selection) return { ids: new Set(selection.keys.map((key) => key.slice(1))) };
  const { reason, type } = selection.group;
  return {
    only: (task) => {
      const group = groupOf(task);
      return group.reason === reason && group.type === type;
    },
  };
}

function goneOf(selection: Selection, done: number): number {
  return "keys" in selection ? Math.max(0, new Set(selection.keys).size - done) : 0;
}

/** AMQP has no name for a message: tasks of one id go together. */
function keyOf({ id }: Task): string {
  return `-${id}`;
}

function groupOf(task: Task): { reason: string; type: string } {
  const reason = textIn(task, HEADER.deadReason) ?? textIn(task, "x-first-death-reason") ?? "";
  return { reason, type: task.properties.type ?? "" };
}

function textIn({ properties: { headers } }: Task, name: string): string | undefined {
  const value = headers?.[name];
  return typeof value === "string" ? value.slice(0, 300) : undefined;
}

function describe(task: Task): MessageInfo {
  const { properties, body, redelivered, id } = task;
  const attempt = properties.headers?.[HEADER.attempt];
  const texts = {
    type: properties.type,
    reason: groupOf(task).reason || undefined,
    error: textIn(task, HEADER.error),
    diedAt: textIn(task, HEADER.diedAt),
  };
  return {
    key: keyOf(task),
    ...(id === "" ? {} : { id }),
    size: body.length,
    redelivered,
    priority: properties.priority ?? 0,
    ...(typeof attempt === "number" ? { attempt } : {}),
    ...Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== undefined)),
    preview: new TextDecoder().decode(body.subarray(0, PREVIEW_BYTES)),
  };
}
