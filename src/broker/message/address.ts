/** Exchange and routing key as the two short strings in which a message carries them. */

import { ByteReader, ByteWriter } from "../wire/bytes.ts";

export interface Address {
  exchange: string;
  routingKey: string;
}

export function addressOf(exchange: string, routingKey: string): Uint8Array {
  const writer = new ByteWriter(64);
  writer.shortstr(exchange);
  writer.shortstr(routingKey);
  return writer.copy();
}

/** Reads the address of a content. */
export function readAddress(bytes: Uint8Array): Address {
  const reader = new ByteReader(bytes);
  return { exchange: reader.looseShortstr(), routingKey: reader.looseShortstr() };
}
