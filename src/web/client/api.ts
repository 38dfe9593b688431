/** Asks the server of this page. */

/** Below the page itself, wherever a proxy has put that. */
export const API = "api/v1";
const TOKEN = "token";

/** A refusal of the server, in a sentence for people. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** Of this tab, until it is closed. */
export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

/** What every request has. */
export function headers(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** @throws {ApiError} status 0: the server cannot be reached */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(API + path, {
      method,
      headers: {
        ...headers(),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, "The broker does not answer. Nobody knows whether it was done.");
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem = await response.json().catch(() => ({})) as { detail?: string };
  throw new ApiError(response.status, sentence(problem.detail ?? `status ${response.status}`));
}

export function get<T>(path: string): Promise<T> {
  return ask<T>("GET", path);
}

/** Which queue is meant: one itself, such as "mails.dead". */
export interface QueueName {
  readonly vhost: string;
  readonly name: string;
}

/** The path of a queue. */
export function queuePath({ vhost, name }: QueueName): string {
  return `/queues/${segment(vhost)}/${segment(name)}`;
}

/** A name in a path; ";" keeps "." and ".." from being taken for folders. */
function segment(name: string): string {
  return name === "." || name === ".." ? `${name};` : encodeURIComponent(name);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
