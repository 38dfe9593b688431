/** What the page knows of the broker at this moment, and who wants to hear of changes. */
import { useEffect, useState } from "preact/hooks";
import type { ChangeEvent, Overview, QueueInfo } from "../../observe/board.ts";
import type { ApiError } from "./api.ts";
import { listen } from "./listen.ts";

/** A work queue with the queues around it. */
export interface Family {
  readonly key: string;
  readonly vhost: string;
  readonly name: string;
  /** Absent: only queues around it are there. */
  work?: QueueInfo;
  dead?: QueueInfo;
  readonly delays: QueueInfo[];
}

export type Connection =
  | { readonly state: "connecting" }
  | { readonly state: "live" }
  | { readonly state: "lost"; readonly since: Date; readonly error: ApiError };

class Live {
  connection: Connection = { state: "connecting" };
  overview: Overview | undefined;
  families: ReadonlyMap<string, Family> = new Map();
  /** Milliseconds by which the broker's clock is ahead of ours. */
  skew = 0;
  /** How often the page was hidden, and missed what came meanwhile. */
  absences = 0;
  readonly #queues = new Map<string, QueueInfo>();
  readonly #listeners = new Set<() => void>();

  start(): void {
    listen({
      change: (event) => this.#change(event),
      lost: (error) => this.#lost(error),
      missed: () => this.#missed(),
    });
  }

  #change({ overview, queues, gone, whole }: ChangeEvent): void {
    this.connection = { state: "live" };
    this.overview = overview;
    this.skew = overview.now - Date.now();
    if (whole) this.#queues.clear();
    for (const queue of queues) this.#queues.set(keyOf(queue.vhost, queue.name), queue);
    for (const { vhost, name } of gone) this.#queues.delete(keyOf(vhost, name));
    if (whole || queues.length > 0 || gone.length > 0) this.families = familiesOf(this.#queues);
    this.tell();
  }

  #lost(error: ApiError): void {
    const since = this.connection.state === "lost" ? this.connection.since : new Date();
    this.connection = { state: "lost", since, error };
    this.tell();
  }

  #missed(): void {
    this.connection = { state: "connecting" };
    this.absences++;
    this.tell();
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  queue(vhost: string, name: string): QueueInfo | undefined {
    return this.#queues.get(keyOf(vhost, name));
  }

  /** The time by the broker's clock. */
  now(): number {
    return Date.now() + this.skew;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export const live = new Live();

/** Renders again with every change. */
export function useLive(): Live {
  const [, setTick] = useState(0);
  useEffect(() => live.subscribe(() => setTick((tick) => tick + 1)), []);
  return live;
}

export function keyOf(vhost: string, name: string): string {
  return JSON.stringify([vhost, name]);
}

function familiesOf(queues: ReadonlyMap<string, QueueInfo>): ReadonlyMap<string, Family> {
  const families = new Map<string, Family>();
  for (const queue of queues.values()) {
    if (queue.kind === "start") continue;
    const key = keyOf(queue.vhost, queue.of);
    let family = families.get(key);
    if (family === undefined) {
      families.set(key, family = { key, vhost: queue.vhost, name: queue.of, delays: [] });
    }
    if (queue.kind === "work") family.work = queue;
    else if (queue.kind === "dead") family.dead = queue;
    else family.delays.push(queue);
  }
  for (const { delays } of families.values()) {
    delays.sort((one, other) => (one.delayMs ?? 0) - (other.delayMs ?? 0));
  }
  return families;
}

/** Tasks of a family that wait for their time. */
export function delayedIn({ delays }: Family): number {
  return delays.reduce((sum, { ready, unacked = 0 }) => sum + ready + unacked, 0);
}

export function deadIn({ dead }: Family): number {
  return dead === undefined ? 0 : dead.ready + (dead.unacked ?? 0);
}
