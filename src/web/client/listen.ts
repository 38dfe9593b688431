/** Hears from the server of this page what changes. */
import type { ChangeEvent } from "../../observe/board.ts";
import { API, ApiError, headers } from "./api.ts";

export interface Listener {
  change(event: ChangeEvent): void;
  /** The connection is lost, or could not be made; it is tried again. */
  lost(error: ApiError): void;
  /** The page was hidden and heard nothing; it is connected again. */
  missed(): void;
}

/** Milliseconds between two tries to connect, and without an event after which one is lost. */
const RETRY_MS = 1_000;
const SILENCE_MS = 10_000;

/**
 * Listens for as long as the page is open and seen: a browser has six connections to a server, which
 * as many tabs in the background would take, and the next one could not even load the page. `fetch`,
 * because EventSource sends no token.
 */
export async function listen(listener: Listener): Promise<never> {
  for (;;) {
    if (document.hidden) {
      await untilShown();
      listener.missed();
    }
    try {
      await listenOnce(listener);
    } catch (error) {
      if (document.hidden) continue;
      listener.lost(
        error instanceof ApiError ? error : new ApiError(0, "The broker does not answer."),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function untilShown(): Promise<void> {
  while (document.hidden) {
    await new Promise((resolve) =>
      document.addEventListener("visibilitychange", resolve, { once: true })
    );
  }
}

async function listenOnce(listener: Listener): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const letGo = () => document.hidden && silence.abort();
  document.addEventListener("visibilitychange", letGo);
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
    document.removeEventListener("visibilitychange", letGo);
  }
}
