/** AMQP's short strings: names, routing keys, ids, and most properties of a message. */

/** What one holds at most, in bytes of UTF-8. */
export const SHORT_STRING_BYTES = 255;

const encoder = new TextEncoder();

/** How many bytes of a short string it would take. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}
