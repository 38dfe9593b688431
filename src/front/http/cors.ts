/** What browsers are told for the pages of other sites (CORS). */
import type { Gate } from "../../observe/gate.ts";
import type { IncomingMessage } from "../../observe/http.ts";

/** Headers of an answer: what the pages of other sites may see of it. */
export function corsHeaders(
  gate: Gate,
  { headers: { origin } }: IncomingMessage,
): Record<string, string> {
  if (!gate.welcomesOthers) return {};
  if (origin === undefined || !gate.isWelcome(origin)) return { vary: "Origin" };
  return {
    vary: "Origin",
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "Location, Retry-After, Preference-Applied",
  };
}

/** Headers of the answer to OPTIONS: what the pages of other sites may ask. */
export function preflightHeaders(
  gate: Gate,
  { headers }: IncomingMessage,
  methods: string,
): Record<string, string> {
  const { origin } = headers;
  if (origin === undefined || !gate.isWelcome(origin)) return {};
  const asked = headers["access-control-request-headers"] ?? "";
  return {
    "access-control-allow-methods": methods,
    "access-control-max-age": "600",
    ...(/^[\w!#$%&'*+.^`|~, -]+$/.test(asked) ? { "access-control-allow-headers": asked } : {}),
    ...(headers["access-control-request-private-network"] === "true"
      ? { "access-control-allow-private-network": "true" }
      : {}),
  };
}
