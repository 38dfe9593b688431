/** Where properties are in the flags before them (section 4.2.6.1). */
export const FLAG = {
  contentType: 0x8000,
  contentEncoding: 0x4000,
  headers: 0x2000,
  deliveryMode: 0x1000,
  priority: 0x0800,
  correlationId: 0x0400,
  replyTo: 0x0200,
  expiration: 0x0100,
  messageId: 0x0080,
  timestamp: 0x0040,
  type: 0x0020,
  userId: 0x0010,
  appId: 0x0008,
} as const;

/** Of these, and of no others. */
export const ALL_FLAGS = Object.values(FLAG).reduce((all: number, flag) => all | flag, 0);
