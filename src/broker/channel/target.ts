/** Where a basic.publish goes. */

import { ByteReader, MalformedError } from "../wire/bytes.ts";
import { Fault } from "../wire/faults.ts";
import { DIRECT_REPLY_TO } from "../../task/topology.ts";

/** Kept from one publish to the next: they are mostly equal. */
export interface Target {
  /** The payload of the method frame. */
  method: Uint8Array;
  address: Uint8Array;
  exchange: string;
  routingKey: string;
  mandatory: boolean;
  /** To a channel that waits for an answer, and to no queue. */
  isReply: boolean;
  /** Of the virtual host's found routes: the version in which they have a place for it. */
  foundVersion: number;
}

/** Two bytes of a reserved field before the address, in the payload of basic.publish. */
const ADDRESS_AT = 6;

/** Whether a payload is that of a target, byte for byte. */
export function leadsTo(
  { method: known }: Target,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (known.length !== end - start) return false;
  for (let index = 0; index < known.length; index++) {
    if (known[index] !== bytes[start + index]) return false;
  }
  return true;
}

/** @param method the payload of a basic.publish @throws {Fault | MalformedError} */
export function parseTarget(method: Uint8Array): Target {
  const reader = new ByteReader(method, ADDRESS_AT);
  const exchange = reader.looseShortstr();
  const routingKey = reader.looseShortstr();
  const address = method.slice(ADDRESS_AT, reader.position);
  const bits = reader.octet();
  if (reader.position !== reader.end) throw new MalformedError("basic.publish is too long");
  if ((bits & 2) !== 0) throw new Fault("not-implemented", "immediate=true");
  const mandatory = (bits & 1) !== 0;
  const isReply = exchange === "" && routingKey.startsWith(DIRECT_REPLY_TO);
  return { method, address, exchange, routingKey, mandatory, isReply, foundVersion: -1 };
}
