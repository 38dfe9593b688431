import process from "node:process";

/** Messages share buffers of this size at most, one after another: one view serves many. */
const KEPT_BYTES = 1024 * 1024;

let view: DataView = new DataView(new ArrayBuffer(0));

function viewOf({ buffer }: Uint8Array): DataView {
  if (view.buffer === buffer) return view;
  if (buffer.byteLength > KEPT_BYTES) return new DataView(buffer);
  return view = new DataView(buffer);
}

const FACTOR = 0x9e3779b1;

/** Bytes from which on the runtime's CRC is quicker: it has an instruction of the processor for it. */
const LONG_BYTES = 4 * 1024;

/** Comes on top of a CRC, which so is told from the other sum: that has 32 bits. */
const IS_CRC = 2 ** 32;

/**
 * A checksum of a message's bytes as they are stored. It finds pieces of other messages and of other
 * moments, not what somebody forges.
 */
export function checksumOf(bytes: Uint8Array): number {
  return bytes.length < LONG_BYTES ? shortSum(bytes) : IS_CRC + crcOf(bytes);
}

/** Whether bytes are those whose checksum was stored; long ones once had the sum of short ones. */
export function hasChecksum(bytes: Uint8Array, checksum: number): boolean {
  return checksum === (checksum < IS_CRC ? shortSum(bytes) : IS_CRC + crcOf(bytes));
}

let crc32: ((bytes: Uint8Array) => number) | undefined;

/** Loads node:zlib when it is needed first: that takes as long as half the start of a broker. */
function crcOf(bytes: Uint8Array): number {
  crc32 ??= process.getBuiltinModule("node:zlib").crc32;
  return crc32(bytes);
}

/** 32 bits, signed. */
function shortSum(bytes: Uint8Array): number {
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
