/**
 * What a client did wrong. Whoever does what a client asks for throws these; which reply code a kind
 * has, and whether it ends the channel or the connection, is said in `connection/reply_codes.ts`.
 * Messages are RabbitMQ's words, because client programs match on them.
 */

export type FaultKind =
  | "content-too-large"
  | "access-refused"
  | "not-found"
  | "resource-locked"
  | "precondition-failed"
  | "connection-forced"
  | "frame-error"
  | "syntax-error"
  | "command-invalid"
  | "channel-error"
  | "unexpected-frame"
  | "resource-error"
  | "not-allowed"
  | "not-implemented"
  | "internal-error";

/** Ends a channel or, for the harder kinds, its connection. The broker lives on. */
export class Fault extends Error {
  override readonly name = "Fault";
  constructor(readonly kind: FaultKind, message: string) {
    super(message);
  }
}

export function preconditionFailed(message: string): Fault {
  return new Fault("precondition-failed", message);
}

export function accessRefused(message: string): Fault {
  return new Fault("access-refused", message);
}

export function notAllowed(message: string): Fault {
  return new Fault("not-allowed", message);
}

export function notImplemented(message: string): Fault {
  return new Fault("not-implemented", message);
}

/** @param what for example `queue 'tasks' in vhost '/'` */
export function notFound(what: string): Fault {
  return new Fault("not-found", `no ${what}`);
}
