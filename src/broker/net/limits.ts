/** What a broker grants to its clients, whoever they are. */

export interface Limits {
  connections: number;
  /** Channels of one connection, as connection.tune offers them. */
  channels: number;
  /** Bytes of a frame, as connection.tune offers them. */
  frameMax: number;
  /** Seconds, as connection.tune offers them. */
  heartbeat: number;
  /** Bytes of a message body. */
  messageBytes: number;
  /** Deliveries of one channel that wait for an acknowledgement. */
  unacked: number;
  /** The same of all connections together; beyond it channels have few at a time. */
  allUnacked: number;
  /** Bytes of contents and transactions that one connection has under way. */
  pendingBytes: number;
  /**
   * Messages that a transaction may put into queues. The first one for each durable queue counts as
   * five.
   */
  transaction: number;
  /** Time in which a connection whose contents make others wait has to send more of them. */
  patienceMs: number;
  /** Time for the handshake, TLS included. */
  handshakeMs: number;
  /** Time that a client with a wrong password waits for its refusal: it may be guessing. */
  distrustMs: number;
  /** Time that a client which breaks the protocol during the handshake waits for its end. */
  silenceMs: number;
  /** Time a delivery may stay unacknowledged; x-consumer-timeout changes it for a queue. */
  consumerTimeoutMs: number;
  /** Bytes of ready messages that all queues together keep in memory. */
  memoryBytes: number;
  /** Bytes of pages of the data file that memory holds. */
  pageBytes: number;
  /** Bytes of memory for what all queues without duplicates remember. */
  keyBytes: number;
  /** The same for queues, exchanges and bindings; and a third of the heap at most. */
  definitionBytes: number;
  /** The same for channels and consumers of all connections; and a fifth of the heap at most. */
  clientBytes: number;
  /** Bytes of large bodies, and the same of frames, that wait to be sent to all clients together. */
  outboxBytes: number;
  /** Bytes of large frames that have come in part, of all connections together. */
  frameBytes: number;
  /** Bytes of a file for large bodies that are sent to clients who do not read. */
  spillBytes: number;
  /** Dead letters without a queue to go to that memory holds, about; the others are on disk. */
  keptLetters: number;
  /** Publishers are blocked while the disk of the data has less free. */
  diskFreeBytes: number;
  /** Bytes of the disk that the data may take: with more, publishers are blocked, too. */
  diskShareBytes: number;
}

/** RabbitMQ's defaults, where it has the limit. */
export const DEFAULT_LIMITS: Limits = {
  connections: 10_000,
  channels: 2_047,
  frameMax: 131_072,
  heartbeat: 60,
  messageBytes: 134_217_728,
  unacked: 200_000,
  allUnacked: 300_000,
  pendingBytes: 150_994_944,
  transaction: 40_000,
  patienceMs: 10_000,
  handshakeMs: 10_000,
  distrustMs: 500,
  silenceMs: 3_000,
  consumerTimeoutMs: 1_800_000,
  memoryBytes: 48 * 1024 * 1024,
  pageBytes: 8 * 1024 * 1024,
  keyBytes: 64 * 1024 * 1024,
  definitionBytes: 1024 * 1024 * 1024,
  clientBytes: 1024 * 1024 * 1024,
  outboxBytes: 24 * 1024 * 1024,
  frameBytes: 24 * 1024 * 1024,
  spillBytes: 512 * 1024 * 1024,
  keptLetters: 10_000,
  diskFreeBytes: 50_000_000,
  diskShareBytes: Infinity,
};

/** Bytes of memory that a broker takes besides its messages: itself, and what a million waiting need. */
const BASE_BYTES = 88 * 1024 * 1024;
/** The least that is left for messages, however little memory there is. */
const LEAST_BYTES = 12 * 1024 * 1024;

/** Bytes of memory that a dead letter takes that waits for a queue, about. */
const LETTER_BYTES = 1_024;

/**
 * The limits with which a broker stays within so many bytes of memory. The largest message is there
 * three times while it is written: as it came, as SQLite was given it, and in its row.
 */
export function limitsWithin(limits: Limits, bytes: number): Limits {
  const room = Math.max(LEAST_BYTES, bytes - BASE_BYTES);
  const messageBytes = Math.min(limits.messageBytes, Math.floor(room / 4));
  return {
    ...limits,
    messageBytes,
    pendingBytes: Math.min(limits.pendingBytes, messageBytes + Math.floor(room / 8)),
    memoryBytes: Math.min(limits.memoryBytes, Math.floor(room / 8)),
    pageBytes: Math.min(limits.pageBytes, Math.floor(room / 16)),
    keyBytes: Math.min(limits.keyBytes, Math.floor(room / 4)),
    definitionBytes: Math.min(limits.definitionBytes, Math.floor(room / 4)),
    clientBytes: Math.min(limits.clientBytes, Math.floor(room / 4)),
    outboxBytes: Math.min(limits.outboxBytes, Math.floor(room / 8)),
    frameBytes: Math.min(limits.frameBytes, Math.floor(room / 8)),
    keptLetters: Math.min(limits.keptLetters, Math.floor(room / 8 / LETTER_BYTES)),
  };
}

/** Bytes of the largest frame of a client that has not logged in: of those there may be many. */
export const HANDSHAKE_FRAME_MAX = 4_096;

/** Bytes that a client may send before its login is done, heartbeats included. */
export const HANDSHAKE_BYTES = 65_536;

/** Heartbeats among them: who sends more is no client. */
export const HANDSHAKE_HEARTBEATS = 100;

/** Bytes of a stranger who is to hear of his end later that are read, to see whether he leaves. */
export const DISTRUST_BYTES = 16_384;
