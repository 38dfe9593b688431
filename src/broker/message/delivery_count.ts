/** The header in which quorum queues count returns. */

import { ContentHeader } from "./content_header.ts";

/** Header payload with `x-delivery-count`. @param start of the header payload in `bytes` */
export function deliveredHeader(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
): Uint8Array {
  return new ContentHeader().scan(bytes, start, end).rewrite({
    set: new Map([["x-delivery-count", { type: "long", value: BigInt(count) }]]),
  });
}
