import { nodeProcess } from "../../../observe/node_process.ts";

/** Where words are read from: a view of each message's own bytes would take longer than its sum. */
const PIECE_BYTES = 4 * 1024;
const piece = new Uint8Array(PIECE_BYTES);
/** As little endian, which all processors are that the runtime is made for. */
const words = new Int32Array(piece.buffer);

const FACTOR = 0x9e3779b1;

/** Bytes from which on the runtime's CRC is quicker: it has an instruction of the processor for it. */
const LONG_BYTES = 2 * 1024;

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
  crc32 ??= nodeProcess().getBuiltinModule("node:zlib").crc32;
  return crc32(bytes);
}

/** 32 bits, signed. */
function shortSum(bytes: Uint8Array): number {
  const { length } = bytes;
  // Four sums that do not wait for each other.
  let one = length, two = 1, three = 2, four = 3;
  for (let start = 0; start < length; start += PIECE_BYTES) {
    const size = Math.min(length - start, PIECE_BYTES);
    piece.set(size === length ? bytes : bytes.subarray(start, start + size));
    const end = size >> 4 << 2;
    for (let at = 0; at < end; at += 4) {
      one = step(one, words[at]!);
      two = step(two, words[at + 1]!);
      three = step(three, words[at + 2]!);
      four = step(four, words[at + 3]!);
    }
    for (let at = end << 2; at < size; at++) one = step(one, piece[at]!);
  }
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
