/** The data of the API as JSON Schema 2020-12. `src/observe/board.ts` says what they mean. */

type Schema = Readonly<Record<string, unknown>>;

const TEXT = { type: "string" };
const WHOLE = { type: "integer", minimum: 0 };
const NUMBER = { type: "number", minimum: 0 };
const FLAG = { type: "boolean" };

/** @param required names of the members that are always there */
function object(
  required: readonly string[],
  properties: Readonly<Record<string, unknown>>,
): Schema {
  return { type: "object", required, properties };
}

function list(name: string): Schema {
  return { type: "array", items: { $ref: `#/components/schemas/${name}` } };
}

const NUMBERS = { type: "array", items: NUMBER };

const HISTORY = object(
  ["at", "ready", "in", "out"],
  { at: NUMBERS, ready: NUMBERS, in: NUMBERS, out: NUMBERS },
);

const RATES = object(["in", "out", "acked"], { in: NUMBER, out: NUMBER, acked: NUMBER });

const QUEUE = {
  vhost: TEXT,
  name: TEXT,
  kind: { enum: ["work", "delay", "dead", "start"] },
  of: { ...TEXT, description: "The work queue that it belongs to." },
  delayMs: WHOLE,
  type: TEXT,
  durable: FLAG,
  exclusive: FLAG,
  paused: FLAG,
  ready: WHOLE,
  unacked: WHOLE,
  bytes: WHOLE,
  consumers: WHOLE,
  totals: object(
    ["published", "delivered", "acked", "returned", "dead"],
    {
      published: WHOLE,
      delivered: WHOLE,
      acked: WHOLE,
      returned: WHOLE,
      dead: {
        ...WHOLE,
        description: "Given up by the broker. What workers give up comes to the dead queue.",
      },
    },
  ),
  rates: RATES,
  trend: { ...NUMBERS, description: "Ready over the last five minutes, the oldest first." },
  oldestAt: {
    ...WHOLE,
    description: "Since when, at least, the next message waits; ms since 1970.",
  },
  due: object(["firstAt", "lastAt"], { firstAt: NUMBER, lastAt: NUMBER }),
};
const QUEUE_REQUIRED = ["vhost", "name", "kind", "of", "ready", "consumers"];

const RUN = object(
  ["sinceMs", "connection", "client", "address"],
  { sinceMs: NUMBER, connection: WHOLE, client: TEXT, address: TEXT },
);

const MESSAGE = {
  key: { ...TEXT, description: "Names the message in its queue while it is there." },
  id: TEXT,
  type: TEXT,
  size: { ...WHOLE, description: "Bytes of the body." },
  redelivered: FLAG,
  priority: WHOLE,
  attempt: WHOLE,
  reason: { ...TEXT, description: "Why it is dead." },
  error: TEXT,
  diedAt: TEXT,
  preview: { ...TEXT, description: "The beginning of the body." },
  running: RUN,
};
const MESSAGE_REQUIRED = ["key", "size", "redelivered", "priority", "preview"];

const CONSUMER = object(
  ["tag", "connection", "client", "address", "prefetch", "exclusive"],
  {
    tag: TEXT,
    connection: WHOLE,
    client: TEXT,
    address: TEXT,
    unacked: WHOLE,
    prefetch: { ...WHOLE, description: "0: without limit." },
    exclusive: FLAG,
  },
);

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Overview: object(["now", "product", "vhosts", "queues", "ready", "can"], {
    now: WHOLE,
    product: TEXT,
    version: TEXT,
    instance: { ...TEXT, description: "Of this run of the broker." },
    uptimeMs: WHOLE,
    vhosts: { type: "array", items: TEXT },
    queues: WHOLE,
    connections: WHOLE,
    ready: WHOLE,
    unacked: WHOLE,
    rates: RATES,
    memory: object(
      ["resident"],
      { resident: WHOLE, messages: WHOLE, messagesLimit: WHOLE },
    ),
    disk: object(["free"], { free: WHOLE, used: WHOLE }),
    alarm: { ...TEXT, description: "Why publishers are blocked." },
    commits: object(
      ["count", "meanMs", "lastMs", "slowestMs"],
      { count: WHOLE, meanMs: NUMBER, lastMs: NUMBER, slowestMs: NUMBER },
    ),
    can: { type: "array", items: TEXT },
  }),
  Queue: object(QUEUE_REQUIRED, QUEUE),
  Queues: object(["queues"], { queues: list("Queue") }),
  QueueDetail: object(QUEUE_REQUIRED, {
    ...QUEUE,
    arguments: { type: "object" },
    consumerList: { type: "array", items: CONSUMER },
    history: HISTORY,
  }),
  History: HISTORY,
  MessageInfo: object(MESSAGE_REQUIRED, MESSAGE),
  MessagePage: object(["messages"], { messages: list("MessageInfo"), next: TEXT }),
  Message: object(
    [
      ...MESSAGE_REQUIRED,
      "exchange",
      "routingKey",
      "durable",
      "properties",
      "headers",
      "bodyBase64",
      "bodyCut",
    ],
    {
      ...MESSAGE,
      exchange: TEXT,
      routingKey: TEXT,
      durable: FLAG,
      deliveries: WHOLE,
      properties: { type: "object" },
      headers: { type: "object" },
      bodyBase64: { ...TEXT, contentEncoding: "base64" },
      bodyCut: { ...FLAG, description: "The body is longer than what is shown." },
    },
  ),
  Found: object(["vhost", "queue", ...MESSAGE_REQUIRED], { vhost: TEXT, queue: TEXT, ...MESSAGE }),
  SearchPage: object(
    ["found", "looked", "skipped"],
    { found: list("Found"), looked: WHOLE, skipped: WHOLE, next: TEXT },
  ),
  GroupPage: object(["groups", "looked", "cut"], {
    groups: {
      type: "array",
      items: object(
        ["reason", "type", "count"],
        { reason: TEXT, type: TEXT, count: WHOLE, error: TEXT },
      ),
    },
    looked: WHOLE,
    cut: FLAG,
  }),
  Connections: object(["connections"], {
    connections: {
      type: "array",
      items: object([
        ...["id", "vhost", "user", "client", "address"],
        ...["sinceMs", "channels", "state", "blocked"],
      ], {
        id: WHOLE,
        vhost: TEXT,
        user: TEXT,
        client: TEXT,
        address: TEXT,
        sinceMs: WHOLE,
        channels: WHOLE,
        consumers: WHOLE,
        unacked: WHOLE,
        state: TEXT,
        blocked: FLAG,
      }),
    },
  }),
  Selection: {
    description: "Messages by their keys, all of a reason and type, or all.",
    oneOf: [
      object(["keys"], { keys: { type: "array", items: TEXT, maxItems: 10_000 } }),
      object(["group"], { group: object(["reason", "type"], { reason: TEXT, type: TEXT }) }),
      object(["all"], { all: { const: true } }),
    ],
  },
  ActionResult: object(["done", "gone", "failed"], {
    done: WHOLE,
    gone: { ...WHOLE, description: "Messages that were not there any more." },
    failed: { ...WHOLE, description: "Messages that are where they were." },
    reason: TEXT,
    to: { type: "array", items: TEXT },
  }),
  Paused: object(["paused"], { paused: FLAG }),
  Changed: object(["changed"], { changed: { ...FLAG, description: "It was not so before." } }),
  Sent: object(["id", "queue"], { id: TEXT, queue: TEXT }),
  ChangeEvent: object(["overview", "queues", "gone", "whole"], {
    overview: { $ref: "#/components/schemas/Overview" },
    queues: list("Queue"),
    gone: { type: "array", items: object(["vhost", "name"], { vhost: TEXT, name: TEXT }) },
    whole: { ...FLAG, description: "These are all queues." },
  }),
  Record: {
    type: "object",
    description: "A task, in the grammar of new_task --ndjson.",
    oneOf: [{ required: ["body"] }, { required: ["body_base64"] }, { required: ["json"] }],
    properties: {
      body: TEXT,
      body_base64: { ...TEXT, contentEncoding: "base64" },
      json: {},
      id: TEXT,
      type: TEXT,
      content_type: TEXT,
      content_encoding: TEXT,
      correlation_id: TEXT,
      reply_to: TEXT,
      headers: { type: "object" },
      priority: { type: "integer", minimum: 0, maximum: 255 },
      queue: { ...TEXT, description: "Instead of the one in the path." },
      expiration: { type: ["number", "string"] },
      delay: { type: ["number", "string"] },
      at: { type: "string", format: "date-time" },
    },
  },
  Problem: object(["type", "title", "status", "detail"], {
    type: TEXT,
    title: TEXT,
    status: { type: "integer" },
    detail: TEXT,
  }),
};
