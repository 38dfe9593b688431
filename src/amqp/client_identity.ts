/** What a client says of itself. */

/** Who this connection is, for the broker's tools. */
export interface ClientIdentity {
  /** Connection name: "worker on host1 pid 42". */
  readonly name: string;
  readonly version: string;
  /** What this client may send a second on one connection; absent: as much as it can. */
  readonly bytesPerSecond?: number;
}
