/** What the HTTP front answers to, for programs: https://spec.openapis.org/oas/v3.1.1.html */
import type { QueuePolicy } from "../../amqp/declare.ts";
import { PROBLEM_TYPE } from "../../observe/problem.ts";
import { RECORD_SCHEMA, TASK_SCHEMA } from "./schemas.ts";

export interface Described {
  readonly queues: readonly QueuePolicy[];
  readonly maxBodyBytes: number;
  readonly version: string;
  readonly tokens?: unknown;
}

type Json = Readonly<Record<string, unknown>>;

/** The document of a server with these options. */
export function openApi({ queues, maxBodyBytes, version, tokens }: Described): Json {
  const needsToken = tokens !== undefined;
  const secured = needsToken ? { security: [{ bearer: [] }] } : {};
  return {
    openapi: "3.1.0",
    info: {
      title: "Tasks",
      version,
      description: "Puts tasks on work queues, and tells what became of them.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    paths: {
      "/tasks": { post: { ...sendTasks(queues, maxBodyBytes), ...secured } },
      "/tasks/{id}": { get: { ...SHOW_TASK, ...secured } },
      "/livez": { get: page("isAlive", "Answers while this process does.", {}) },
      "/readyz": {
        get: page("isReady", "Says whether tasks can be sent now.", {
          503: textAnswer("No task can be sent: the broker is away or blocks, or this ends."),
        }),
      },
      "/metrics": {
        get: { ...page("readMetrics", "Numbers for Prometheus.", problems(401)), ...secured },
      },
      "/openapi.json": { get: READ_OPENAPI },
    },
    components: {
      schemas: { Record: RECORD_SCHEMA, Task: TASK_SCHEMA, Sent: SENT, Problem: PROBLEM },
      parameters: { prefer: PREFER },
      ...(needsToken ? { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } } : {}),
    },
  };
}

const LOCATION = {
  Location: {
    description: "Where the task is told of. Absent for a body of records.",
    schema: { type: "string" },
  },
};
const APPLIED = {
  "Preference-Applied": { description: "What was preferred.", schema: { type: "string" } },
};

const SENT = {
  oneOf: [ref("Task"), {
    type: "object",
    description: "Of a body of records, in their order.",
    required: ["tasks"],
    properties: { tasks: { type: "array", minItems: 1, items: ref("Task") } },
    additionalProperties: false,
  }],
};

const PREFER = {
  name: "Prefer",
  in: "header",
  description: "wait=N: answer when the tasks have ended, at the latest in N seconds.",
  schema: { type: "string" },
  example: "wait=10",
};

/** RFC 9457, and where the fault is. */
const PROBLEM = {
  type: "object",
  required: ["type", "title", "status", "detail"],
  properties: {
    type: { type: "string", const: "about:blank" },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    detail: { type: "string", description: "One sentence." },
    field: { type: "string", description: "Of the record." },
    line: { type: "integer", minimum: 1, description: "Of a body of records." },
    tasks: {
      type: "array",
      description: "What became of each record where not all were confirmed.",
      items: {
        type: "object",
        required: ["line", "id", "confirmed"],
        properties: {
          line: { type: "integer", minimum: 1 },
          id: { type: "string" },
          confirmed: { type: "boolean" },
          detail: { type: "string" },
        },
        additionalProperties: false,
      },
    },
  },
  additionalProperties: false,
};

const REASONS: Readonly<Record<number, string>> = {
  400: "The request or a record is none. Nothing was sent.",
  401: "The token is missing or another one.",
  403: "Asked by the page of another site, or under another host's name.",
  404: "The queue is not served, or the task not known here any more.",
  413: "The body, or a task, is too large.",
  415: "A record that is no UTF-8 or is compressed, or a Content-Type that is none.",
  422: "The id is another task's.",
  429: "Too much is under way.",
  500: "A fault of the server.",
  501: "The Transfer-Encoding is not chunked alone.",
  503: "The broker is away, blocks or refuses; the task may be on the queue if the detail says so.",
};

const SHOW_TASK: Json = {
  operationId: "showTask",
  summary: "Tells what became of a task that was sent here.",
  parameters: [
    {
      name: "id",
      in: "path",
      required: true,
      description: "Percent-encoded.",
      schema: { type: "string" },
    },
    { $ref: "#/components/parameters/prefer" },
  ],
  responses: {
    200: jsonAnswer("The task.", "Task", APPLIED),
    ...problems(400, 401, 403, 404, 500, 503),
  },
};

const READ_OPENAPI: Json = {
  operationId: "readOpenApi",
  summary: "This document.",
  responses: {
    200: {
      description: "OpenAPI 3.1.",
      content: { "application/json": { schema: { type: "object" } } },
    },
  },
};

function problems(...statuses: readonly number[]): Json {
  return Object.fromEntries(statuses.map((status) => [status, {
    description: REASONS[status],
    ...(status === 429 || status === 503
      ? {
        headers: {
          "Retry-After": { description: "Seconds.", schema: { type: "integer", minimum: 0 } },
        },
      }
      : status === 401
      ? {
        headers: {
          "WWW-Authenticate": { description: "Bearer.", schema: { type: "string" } },
        },
      }
      : {}),
    content: { [PROBLEM_TYPE]: { schema: ref("Problem") } },
  }]));
}

function jsonAnswer(description: string, schema: string, headers: Json): Json {
  return { description, headers, content: { "application/json": { schema: ref(schema) } } };
}

function textAnswer(description: string): Json {
  return { description, content: { "text/plain": { schema: { type: "string" } } } };
}

function page(operationId: string, summary: string, others: Json): Json {
  return { operationId, summary, responses: { 200: textAnswer("As asked."), ...others } };
}

function ref(schema: string): Json {
  return { $ref: `#/components/schemas/${schema}` };
}

function sendTasks(queues: readonly QueuePolicy[], maxBodyBytes: number): Json {
  return {
    operationId: "sendTasks",
    summary: "Sends a task, or several; answers when the broker has confirmed them.",
    description:
      "application/json is a record, application/x-ndjson a record on each line, everything " +
      `else the body of the task as it is. At most ${maxBodyBytes} bytes.`,
    parameters: parametersOf(queues),
    requestBody: {
      content: {
        "application/json": { schema: ref("Record") },
        "application/x-ndjson": { schema: { type: "string" } },
        "*/*": { schema: {} },
      },
    },
    responses: {
      200: jsonAnswer("With Prefer: the tasks have ended in time.", "Sent", {
        ...LOCATION,
        ...APPLIED,
      }),
      202: jsonAnswer("The broker has confirmed the tasks.", "Sent", {
        ...LOCATION,
        ...APPLIED,
      }),
      ...problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 501, 503),
    },
  };
}

const TEXT = { type: "string" };

/** Of a task, besides those that are a field in the query and in a header each. */
const OTHER_PARAMETERS: readonly Json[] = [
  {
    name: "Task-Headers",
    in: "header",
    description: "Headers of the task, as a JSON object.",
    schema: TEXT,
  },
  { name: "headers", in: "query", description: "The same.", schema: TEXT },
  {
    name: "content_type",
    in: "query",
    description: "Instead of the request's Content-Type.",
    schema: TEXT,
  },
  {
    name: "content_encoding",
    in: "query",
    description: "Instead of the request's Content-Encoding.",
    schema: TEXT,
  },
  {
    name: "as",
    in: "query",
    description: "How to read the body, whatever its Content-Type.",
    schema: { type: "string", enum: ["body", "record", "records"] },
  },
  {
    name: "Idempotency-Key",
    in: "header",
    description: "The id. A task whose id is known here is not sent again.",
    schema: TEXT,
  },
  {
    name: "traceparent",
    in: "header",
    description: "Becomes a header of the task, as tracestate does.",
    schema: TEXT,
  },
];

/** Fields of a task, in the query or in a header each. */
function parametersOf(queues: readonly QueuePolicy[]): Json[] {
  const { properties } = RECORD_SCHEMA;
  const headerOf = (field: string) =>
    `Task-${field.split("_").map((word) => word[0]!.toUpperCase() + word.slice(1)).join("-")}`;
  const fields = ["id", "priority", "type", "correlation_id", "reply_to", "expiration", "delay"];
  const described: Record<string, { description: string }> = properties;
  const queue = { type: "string", enum: queues.map(({ name }) => name) };
  return [
    { name: "queue", in: "query", schema: { ...queue, default: queues[0]!.name } },
    { name: "Task-Queue", in: "header", description: "Percent-encoded.", schema: TEXT },
    ...[...fields, "at"].flatMap((field) => {
      const { description } = described[field]!;
      return [
        { name: field, in: "query", description, schema: TEXT },
        {
          name: headerOf(field),
          in: "header",
          description: `${description} Percent-encoded.`,
          schema: TEXT,
        },
      ];
    }),
    ...OTHER_PARAMETERS,
    { $ref: "#/components/parameters/prefer" },
  ];
}
