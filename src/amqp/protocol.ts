/** What both sides of a connection know: what AMQP 0-9-1 lays down, and who our own broker is. */

/** What a client says first: "AMQP" 0 0 9 1 (section 4.2.2). */
export const PROTOCOL_HEADER: Uint8Array = new Uint8Array([65, 77, 81, 80, 0, 0, 9, 1]);

/** The properties of a message, in the order of their flags, from the highest bit on (4.2.6.1). */
export const BASIC_PROPERTIES = [
  "contentType",
  "contentEncoding",
  "headers",
  "deliveryMode",
  "priority",
  "correlationId",
  "replyTo",
  "expiration",
  "messageId",
  "timestamp",
  "type",
  "userId",
  "appId",
  "clusterId",
] as const;
export type BasicProperty = typeof BASIC_PROPERTIES[number];

/** Before the payload of a frame: type, channel and size (section 4.2.3). */
export const FRAME_HEADER_BYTES = 7;
/** The last byte of every frame. */
export const FRAME_END = 206;
/** Everything of a frame that is not payload. */
export const FRAME_OVERHEAD = FRAME_HEADER_BYTES + 1;

/** Class and method id at the start of a method's payload. */
export const METHOD_IDS_BYTES = 4;

/** The least frame_max that a peer may ask for (section 1.2, frame-min-size). */
export const FRAME_MIN_BYTES = 4096;

/** The product that our own broker says it is. */
export const OUR_BROKER = "workqueue broker";
