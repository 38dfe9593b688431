/** What the API answers to: one table, from which the answers and the OpenAPI document follow. */
import type { QueueRef, Selection } from "../observe/board.ts";
import { Problem } from "../observe/problem.ts";
import { parseRecord, RecordError } from "../task/record.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Source } from "./source.ts";
import { encodeList, type Looks } from "./looks.ts";
import { each } from "./pieces.ts";

/** What is asked of a route. */
export interface Asked {
  readonly looks: Looks;
  /** Of the path, by name, decoded. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Undefined where the route takes none. */
  readonly body: Uint8Array | undefined;
}

/** An answer that is JSON in bytes already. */
export class Encoded {
  constructor(readonly parts: readonly Uint8Array[]) {}
}

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly schema: object;
  readonly required?: boolean;
}

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** `{name}` stands for one segment. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** In the query. */
  readonly parameters?: readonly Parameter[];
  /** Name of the schema of the body. */
  readonly takes?: "Record" | "Selection" | "Paused";
  /** Name of the schema of the answer; absent: there is none. */
  readonly gives?: string;
  /** Absent: this broker cannot do it. */
  readonly answer: (source: Source) => ((asked: Asked) => unknown) | undefined;
}

const QUEUE = "/queues/{vhost}/{queue}";

const KEYS_AT_ONCE = 10_000;
const MOST_LISTED = 200;

export const ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/overview",
    id: "showOverview",
    gives: "Overview",
    summary: "The broker as a whole, and what can be done with it.",
    answer: () => ({ looks }) => looks.overview(),
  },
  {
    method: "GET",
    path: "/history",
    id: "showHistory",
    gives: "History",
    summary: "The last five minutes of all work queues together.",
    answer: (source) => source.history && (() => source.history!()),
  },
  {
    method: "GET",
    path: "/queues",
    id: "listQueues",
    gives: "Queues",
    summary: "All queues, or those that are asked for.",
    parameters: [
      {
        name: "vhost",
        description: "Only those of this virtual host.",
        schema: { type: "string" },
      },
      {
        name: "of",
        description: "Only those that belong to these work queues, themselves included.",
        schema: { type: "array", items: { type: "string" } },
      },
    ],
    answer: () => async ({ query, looks }) => {
      const [vhost, of] = [query.get("vhost"), new Set(query.getAll("of"))];
      if (vhost === null && of.size === 0) return new Encoded(await looks.list());
      const { queues, texts } = await looks.queues();
      const wanted: string[] = [];
      await each(queues.entries(), ([index, queue]) => {
        const isWanted = (vhost === null || queue.vhost === vhost) &&
          (of.size === 0 || of.has(queue.of));
        if (isWanted) wanted.push(texts[index]!);
      });
      return new Encoded(await encodeList(wanted));
    },
  },
  {
    method: "GET",
    path: QUEUE,
    id: "showQueue",
    gives: "QueueDetail",
    summary: "A queue, with its consumers and its last five minutes.",
    answer: (source) => (asked) => source.queue(addressIn(asked)),
  },
  {
    method: "GET",
    path: `${QUEUE}/messages`,
    id: "listMessages",
    gives: "MessagePage",
    summary: "Messages of a queue, without taking them.",
    parameters: [
      {
        name: "end",
        description: "Which come first.",
        schema: { enum: ["oldest", "newest"], default: "oldest" },
      },
      {
        name: "limit",
        description: "How many at most.",
        schema: { type: "integer", minimum: 1, maximum: MOST_LISTED, default: 50 },
      },
      { name: "from", description: "The `next` of the page before.", schema: { type: "string" } },
    ],
    answer: (source) =>
      source.messages && ((asked) => {
        const from = asked.query.get("from");
        return source.messages!(addressIn(asked), {
          end: oneOf(asked, "end", ["oldest", "newest"]),
          limit: limitIn(asked),
          ...(from === null ? {} : { from }),
        });
      }),
  },
  {
    method: "POST",
    path: `${QUEUE}/messages`,
    id: "sendTask",
    takes: "Record",
    gives: "Sent",
    summary: "Puts a task on the queue; answers when it is on disk.",
    answer: (source) => source.send && ((asked) => source.send!(addressIn(asked), recordIn(asked))),
  },
  {
    method: "GET",
    path: `${QUEUE}/messages/{key}`,
    id: "showMessage",
    gives: "Message",
    summary: "All of a message, without taking it.",
    answer: (source) =>
      source.message && ((asked) => source.message!(addressIn(asked), asked.path["key"]!)),
  },
  {
    method: "PUT",
    path: `${QUEUE}/messages/{key}`,
    id: "replaceMessage",
    takes: "Record",
    gives: "Sent",
    summary: "Removes a message, and sends a task in its place; both or none.",
    answer: (source) =>
      source.send &&
      ((asked) => source.send!(addressIn(asked), recordIn(asked), asked.path["key"]!)),
  },
  {
    method: "GET",
    path: `${QUEUE}/running`,
    id: "listRunning",
    gives: "MessagePage",
    summary: "What consumers of the queue have and have not settled, the longest first.",
    answer: (source) =>
      source.running && ((asked) => source.running!(addressIn(asked), MOST_LISTED)),
  },
  {
    method: "GET",
    path: `${QUEUE}/groups`,
    id: "groupMessages",
    gives: "GroupPage",
    summary: "Dead letters by reason and type.",
    answer: (source) => source.groups && ((asked) => source.groups!(addressIn(asked))),
  },
  {
    method: "POST",
    path: `${QUEUE}/replay`,
    id: "replayMessages",
    takes: "Selection",
    gives: "ActionResult",
    summary: "Puts dead letters back on the queues that they came from; each is here or there.",
    answer: (source) =>
      source.replay && ((asked) => source.replay!(addressIn(asked), selectionIn(asked))),
  },
  {
    method: "POST",
    path: `${QUEUE}/drop`,
    id: "dropMessages",
    takes: "Selection",
    gives: "ActionResult",
    summary: "Removes messages for good.",
    answer: (source) =>
      source.drop && ((asked) => source.drop!(addressIn(asked), selectionIn(asked))),
  },
  {
    method: "POST",
    path: `${QUEUE}/purge`,
    id: "purgeQueue",
    gives: "ActionResult",
    summary: "Removes all messages that wait, for good.",
    answer: (source) => source.purge && ((asked) => source.purge!(addressIn(asked))),
  },
  {
    method: "PUT",
    path: `${QUEUE}/paused`,
    id: "pauseQueue",
    takes: "Paused",
    gives: "Changed",
    summary: "Pauses a queue, or has it go on: consumers get nothing, publishers go on.",
    answer: (source) =>
      source.setPaused && ((asked) => source.setPaused!(addressIn(asked), pausedIn(asked))),
  },
  {
    method: "GET",
    path: "/running",
    id: "listAllRunning",
    gives: "MessagePage",
    summary: "What all consumers have and have not settled, the longest first.",
    answer: (source) => source.running && (() => source.running!(undefined, MOST_LISTED)),
  },
  {
    method: "GET",
    path: "/search",
    id: "search",
    gives: "SearchPage",
    summary: "Messages with a text in their id, properties, headers or body.",
    parameters: [
      {
        name: "q",
        required: true,
        schema: { type: "string", minLength: 1, maxLength: 500 },
        description: "The text; upper and lower case are the same.",
      },
      {
        name: "vhost",
        description: "That of `queue`, which it needs.",
        schema: { type: "string", default: "/" },
      },
      { name: "queue", description: "Default: all queues.", schema: { type: "string" } },
      { name: "from", description: "The `next` of the page before.", schema: { type: "string" } },
    ],
    answer: (source) => source.search && ((asked) => source.search!(searchIn(asked))),
  },
  {
    method: "GET",
    path: "/connections",
    id: "listConnections",
    gives: "Connections",
    summary: "Open connections.",
    answer: (source) =>
      source.connections && (async () => ({ connections: await source.connections!() })),
  },
  {
    method: "DELETE",
    path: "/connections/{id}",
    id: "closeConnection",
    summary: "Closes a connection; what it has not settled goes back to its queues.",
    answer: (source) =>
      source.closeConnection &&
      ((asked) => source.closeConnection!(wholeNumber("the id", asked.path["id"]!))),
  },
];

/** @throws {Problem} 400 */
function addressIn({ path }: Asked): QueueRef {
  return { vhost: path["vhost"]!, name: path["queue"]! };
}

function limitIn({ query }: Asked): number {
  const limit = wholeNumber("limit", query.get("limit") ?? "50");
  if (limit >= 1 && limit <= MOST_LISTED) return limit;
  throw new Problem(400, `limit must be from 1 to ${MOST_LISTED}, and is ${limit}`);
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem(400, `${name} must be a whole number, and is ${shown(text)}`);
}

function oneOf<T extends string>({ query }: Asked, name: string, values: readonly T[]): T {
  const given = query.get(name) ?? values[0]!;
  const value = values.find((value) => value === given);
  if (value !== undefined) return value;
  throw new Problem(400, `${name} must be ${values.join(" or ")}, and is ${shown(given)}`);
}

function searchIn({ query }: Asked): Parameters<NonNullable<Source["search"]>>[0] {
  const [text, vhost, queue, from] = ["q", "vhost", "queue", "from"].map((name) => query.get(name));
  if (!text || text.length > 500) {
    throw new Problem(400, `q must have 1 to 500 characters, and has ${text?.length ?? 0}`);
  }
  if (vhost !== null && queue === null) {
    throw new Problem(400, "vhost needs queue, and it is not given");
  }
  return {
    text,
    ...(queue === null ? {} : { queue: { vhost: vhost ?? "/", name: queue! } }),
    ...(from === null ? {} : { from: from! }),
  };
}

/** @throws {Problem} 422 */
function recordIn({ body }: Asked): TaskRecord {
  try {
    return parseRecord(body!, { now: Date.now() });
  } catch (error) {
    if (error instanceof RecordError) throw new Problem(422, error.message);
    throw error;
  }
}

function pausedIn(asked: Asked): boolean {
  const { paused } = objectIn(asked);
  if (typeof paused === "boolean") return paused;
  throw new Problem(422, `paused must be true or false, and is ${shown(paused)}`);
}

function selectionIn(asked: Asked): Selection {
  const { keys, group, all } = objectIn(asked);
  if ([keys, group, all].filter((given) => given !== undefined).length === 1) {
    if (all === true) return { all };
    if (Array.isArray(keys) && keys.length <= KEYS_AT_ONCE && keys.every(isText)) return { keys };
    const { reason, type } = Object(group) as Record<string, unknown>;
    if (isText(reason) && isText(type)) return { group: { reason, type } };
  }
  throw new Problem(
    422,
    'the body must be {"keys": [KEY, ...]}, {"group": {"reason": TEXT, "type": TEXT}} or ' +
      `{"all": true}, with at most ${KEYS_AT_ONCE} keys, and is something else`,
  );
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function objectIn({ body }: Asked): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw new Problem(400, "the body must be JSON, and is none");
  }
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new Problem(422, "the body must be a JSON object, and is something else");
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? "absent").slice(0, 100);
}
