/**
 * Reads the exchanges, queues and bindings of the data file, one after the other: there may be very
 * many. Writes nothing.
 */

import type { DatabaseSync } from "node:sqlite";
import { everyRow } from "../file/schema.ts";
import { storedText } from "./stored_text.ts";

/**
 * In the column auto_delete of an exchange that has lost a binding, besides 0 and 1: without any it
 * is to go, but has not yet.
 */
export const LEAVING = 2;

export interface StoredExchange {
  vhost: string;
  name: string;
  type: string;
  autoDelete: boolean;
  /** It has lost a binding, and a former process ended before that was looked at. */
  isLeaving: boolean;
  internal: boolean;
  arguments: Uint8Array;
}

export interface StoredQueue {
  id: number;
  vhost: string;
  name: string;
  autoDelete: boolean;
  arguments: Uint8Array;
}

export interface StoredBinding {
  vhost: string;
  source: string;
  kind: "queue" | "exchange";
  destination: string;
  routingKey: string;
  arguments: Uint8Array;
}

export class Definitions {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  *exchanges(): Generator<StoredExchange> {
    for (const row of everyRow(this.#database, "exchange")) {
      yield {
        vhost: storedText(row["vhost"]),
        name: storedText(row["name"]),
        type: row["type"] as string,
        autoDelete: row["auto_delete"] !== 0,
        isLeaving: row["auto_delete"] === LEAVING,
        internal: row["internal"] === 1,
        arguments: row["arguments"] as Uint8Array,
      };
    }
  }

  *queues(): Generator<StoredQueue> {
    for (const row of everyRow(this.#database, "queue NOT INDEXED ORDER BY id")) {
      yield {
        id: row["id"] as number,
        vhost: storedText(row["vhost"]),
        name: storedText(row["name"]),
        autoDelete: row["auto_delete"] === 1,
        arguments: row["arguments"] as Uint8Array,
      };
    }
  }

  /** The ids of queues that are paused. */
  paused(): Set<number> {
    const rows = this.#database.prepare("SELECT queue FROM paused").all();
    return new Set(rows.map((row) => row["queue"] as number));
  }

  *bindings(): Generator<StoredBinding> {
    for (const row of everyRow(this.#database, "binding")) {
      yield {
        vhost: storedText(row["vhost"]),
        source: storedText(row["source"]),
        kind: row["kind"] as "queue" | "exchange",
        destination: storedText(row["destination"]),
        routingKey: storedText(row["routing_key"]),
        arguments: row["arguments"] as Uint8Array,
      };
    }
  }
}
