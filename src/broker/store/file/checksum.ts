/** Messages share buffers of this size at most, one after another: one view serves many. */
const KEPT_BYTES = 1024 * 1024;

let view: DataView = new DataView(new ArrayBuffer(0));

function viewOf({ buffer }: Uint8Array): DataView {
  if (view.buffer === buffer) return view;
  if (buffer.byteLength > KEPT_BYTES) return new DataView(buffer);
  return view = new DataView(buffer);
}

const FACTOR = 0x9e3779b1;

/**
 * A checksum of a message's bytes as they are stored: 32 bits, signed. It finds pieces of other
 * messages and of other moments, not what somebody forges.
 */
export function checksumOf(bytes: Uint8Array): number {
  const words = viewOf(bytes);
  let at = bytes.byteOffset;
  const end = at + bytes.length;
  // Four sums that do not wait for each other.
  let one = bytes.length, two = 1, three = 2, four = 3;
  for (; at + 16 <= end; at += 16) {
    one = step(one, words.getInt32(at, true));
    two = step(two, words.getInt32(at + 4, true));
    three = step(three, words.getInt32(at + 8, true));
    four = step(four, words.getInt32(at + 12, true));
  }
  for (; at < end; at++) one = step(one, words.getUint8(at));
  return mix(mix(mix(mix(one) + two) + three) + four);
}

/** Turned, so that high bits of a word count for all of the sum. */
function step(sum: number, word: number): number {
  const product = Math.imul(sum ^ word, FACTOR);
  return (product << 13) | (product >>> 19);
}

function mix(sum: number): number {
  return Math.imul(sum ^ (sum >>> 15), 0x85ebca6b) | 0;
}
