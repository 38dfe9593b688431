/** Asks the server of this page, and hears from it what changes. */
import type { ChangeEvent } from "../../observe/board.ts";

/** Below the page itself, wherever a proxy has put that. */
const API = "api/v1";
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

function headers(): Record<string, string> {
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

export interface Listener {
  change(event: ChangeEvent): void;
  /** The connection is lost, or could not be made; it is tried again. */
  lost(error: ApiError): void;
}

/** Milliseconds between two tries to connect, and without an event after which one is lost. */
const RETRY_MS = 1_000;
const SILENCE_MS = 10_000;

/** Listens for as long as the page is open. `fetch`, because EventSource sends no token. */
export async function listen(listener: Listener): Promise<never> {
  for (;;) {
    try {
      await listenOnce(listener);
    } catch (error) {
      listener.lost(
        error instanceof ApiError ? error : new ApiError(0, "The broker does not answer."),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function listenOnce(listener: Listener): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await fetch(`${API}/events`, { headers: headers(), signal: silence.signal });
    if (!response.ok) throw new ApiError(response.status, "The token is not right.");
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    for (let text = "";;) {
      const { done, value } = await reader.read();
      if (done) throw new ApiError(0, "The broker has ended.");
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const parts = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = parts.pop()!;
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        if (data !== undefined) listener.change(JSON.parse(data.slice(6)) as ChangeEvent);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}
