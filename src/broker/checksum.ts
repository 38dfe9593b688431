/**
 * A checksum of a message's bytes as they are stored: 32 bits, signed. It finds pieces of other
 * messages and of other moments, not what somebody forges.
 */
export function checksumOf(bytes: Uint8Array): number {
  const { length } = bytes;
  const words = new DataView(bytes.buffer, bytes.byteOffset, length);
  let sum = length;
  let index = 0;
  for (; index + 4 <= length; index += 4) {
    sum = Math.imul(sum ^ words.getInt32(index, true), 0x9e3779b1);
    sum ^= sum >>> 15;
  }
  for (; index < length; index++) sum = Math.imul(sum ^ bytes[index]!, 0x9e3779b1);
  return sum ^ (sum >>> 15);
}
