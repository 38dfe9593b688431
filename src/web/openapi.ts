/** The API of the page for programs: https://spec.openapis.org/oas/v3.1.1.html */
import { PROBLEM_TYPE } from "../observe/problem.ts";
import { type Parameter, type Route, ROUTES } from "./routes.ts";
import { SCHEMAS } from "./schemas.ts";
import type { Source } from "./source.ts";

type Json = Readonly<Record<string, unknown>>;

const ABOUT: Readonly<Record<string, string>> = {
  vhost: 'The virtual host, percent-encoded: "/" is %2F.',
  queue: 'The name of the queue, percent-encoded; "." and ".." are written ".;" and "..;".',
  key: "The key of a message.",
  id: "The id of a connection.",
};

/** @param api what stands in front of every path */
export function openApi(source: Source, api: string, version: string, needsToken: boolean): Json {
  const secured = needsToken ? { security: [{ bearer: [] }] } : {};
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    if (route.answer(source) === undefined) continue;
    (paths[api + route.path] ??= {})[route.method.toLowerCase()] = {
      ...operation(route),
      ...secured,
    };
  }
  paths[`${api}/events`] = {
    get: {
      operationId: "listen",
      summary: "What changes, each second, as server-sent events with a ChangeEvent each.",
      responses: {
        200: {
          description: "Goes on until one side ends it.",
          content: { "text/event-stream": { schema: { type: "string" } } },
        },
        ...problems(["401", "403", "503"]),
      },
      ...secured,
    },
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "Queues",
      version,
      description: "What a broker's queues are doing, and what can be done about it.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: SCHEMAS,
      ...(needsToken ? { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } } : {}),
    },
  };
}

function operation({ path, id, summary, parameters = [], takes, gives }: Route): Json {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    description: ABOUT[name!],
    schema: { type: "string" },
  }));
  const inQuery = parameters.map((parameter: Parameter) => ({ in: "query", ...parameter }));
  const all = [...inPath, ...inQuery];
  const own = [
    ...(path.includes("{") ? ["404"] : []),
    ...(takes === undefined ? [] : ["409", "413", "415", "422", "429"]),
  ];
  return {
    operationId: id,
    summary,
    ...(all.length === 0 ? {} : { parameters: all }),
    ...(takes === undefined ? {} : {
      requestBody: { required: true, content: { "application/json": { schema: ref(takes) } } },
    }),
    responses: {
      ...(gives === undefined ? { 204: { description: "It is done." } } : {
        200: { description: summary, content: { "application/json": { schema: ref(gives) } } },
      }),
      ...problems(["400", "401", "403", ...own, "500", "503"]),
    },
  };
}

function problems(codes: readonly string[]): Json {
  return Object.fromEntries(
    codes.map((code) => [code, {
      description: "What is wrong.",
      content: { [PROBLEM_TYPE]: { schema: ref("Problem") } },
    }]),
  );
}

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}
