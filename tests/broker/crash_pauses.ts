/** A queue of the crash test that is paused and resumed over the broker's API. */
import { setTimeout as pause } from "node:timers/promises";
import type { EmbeddedBroker } from "../support/embedded.ts";
import type { Random } from "../support/random.ts";
import { nameOf } from "./crash_names.ts";

export const PAUSED = "paused";

export class Pauses {
  /** What may be so: both, while an answer is awaited. */
  #states = new Set([false]);

  /** Changes it until the broker is gone. */
  async run(broker: EmbeddedBroker, random: Random): Promise<void> {
    const url = await urlOf(broker);
    for (let paused = true;; paused = !paused) {
      this.#states.add(paused);
      if (!await set(url, paused)) return;
      this.#states = new Set([paused]);
      await pause(random.below(50));
    }
  }

  /** Resumes it. @returns whether it was as its last answer said */
  async resume(broker: EmbeddedBroker): Promise<boolean> {
    const url = await urlOf(broker);
    const { paused } = await (await fetch(url)).json();
    const isRight = this.#states.has(paused);
    if (!await set(url, false)) throw new Error("the queue cannot be resumed");
    this.#states = new Set([false]);
    return isRight;
  }
}

async function urlOf(broker: EmbeddedBroker): Promise<string> {
  const page = [...(await broker.log()).matchAll(/page at (\S+)/g)].at(-1)![1]!;
  const name = encodeURIComponent(nameOf(PAUSED));
  return new URL(`api/v1/queues/%2F/${name}`, page).href;
}

/** @returns false when the broker is gone */
async function set(url: string, paused: boolean): Promise<boolean> {
  const answer = await fetch(`${url}/paused`, {
    method: "PUT",
    headers: { "content-type": "application/json", origin: new URL(url).origin },
    body: JSON.stringify({ paused }),
  }).catch(() => undefined);
  const text = await answer?.text().catch(() => undefined);
  if (text === undefined) return false;
  if (!answer!.ok) throw new Error(`pausing was refused: ${text}`);
  return true;
}
