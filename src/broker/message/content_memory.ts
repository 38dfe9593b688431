/**
 * Bytes for received messages. Small ones share an array, a block: an ArrayBuffer of its own costs
 * more than a microsecond and more memory than the message. A block lives as long as one of its
 * messages.
 */

const BLOCK_BYTES = 64 * 1024;
const SHARED_UP_TO = 4 * 1024;

let block = new Uint8Array(0);
let used = 0;

export function takeBytes(length: number): Uint8Array {
  if (length > SHARED_UP_TO) return new Uint8Array(length);
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    used = 0;
  }
  const bytes = block.subarray(used, used + length);
  used += length;
  return bytes;
}
