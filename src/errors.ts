/**
 * What can go wrong, by blast radius: the command line, one task, a channel, a connection, the
 * program. Every class carries the exit status that a binary ends with when the error ends it.
 *
 * Messages follow one form: the action that failed, what it requires, the current value; no final
 * period. They are printed to users as they are, so they never hold a secret.
 */

/** Exit statuses of all binaries: sysexits(3), then the shell's 126 and 127. */
export const EXIT = {
  ok: 0,
  /** A task that was waited for is dead, and its work had no exit status of its own. */
  dead: 1,
  /** The command line is wrong. */
  usage: 64,
  /** The input is there but cannot be used. */
  badData: 65,
  /** An input file is missing or unreadable. */
  noInput: 66,
  /** No such queue, or the task could not be routed to one. */
  unavailable: 69,
  /** A fault of this program. */
  internal: 70,
  /** A queue exists with other arguments than the ones asked for. */
  conflict: 73,
  /** Temporary: unreachable, nacked, blocked, timed out. Trying again is safe. */
  temporary: 75,
  /** The peer broke the protocol, or said that we did. */
  protocol: 76,
  /** The broker refused the login or a permission. */
  noPermission: 77,
  notExecutable: 126,
  notFound: 127,
} as const;

/** Base of every error that is worth a sentence to the user instead of a stack trace. */
export class ToolError extends Error {
  /** Tells errors of its kind without their class. */
  override readonly name: string = "ToolError";
  /** Of any kind; `exitCode` is what a binary ends with when this error ends it. */
  constructor(message: string, readonly exitCode: number, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The command line or the environment asks for something impossible. Nothing was started. */
export class UsageError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "UsageError";
  /** The message says what is required, and what is given. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, EXIT.usage, options);
  }
}

/** An input (file, stdin, password file) cannot be read or used. Nothing was sent. */
export class InputError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "InputError";
  constructor(
    message: string,
    exitCode: typeof EXIT.badData | typeof EXIT.noInput = EXIT.noInput,
    options?: ErrorOptions,
  ) {
    super(message, exitCode, options);
  }
}

/** One task was refused by the broker or could not be encoded. The channel lives on. */
export class TaskError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "TaskError";
}

/** The broker closed a channel (reply codes 3xx and 4xx). The connection lives on. */
export class ChannelError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "ChannelError";
  /**
   * As the broker put it.
   *
   * @param replyCode AMQP reply code, or 0 when the channel ended for a reason of ours
   * @param replyText the broker's words
   */
  constructor(
    message: string,
    readonly replyCode: number,
    readonly replyText: string,
    options?: ErrorOptions,
  ) {
    super(message, exitCodeForReply(replyCode, replyText), options);
  }
}

/** The channel was closed while a task was under way on it: it may be on the queue or not. */
export class InDoubtError extends ChannelError {}

/** The broker refused to queue one task (basic.nack): full, or for the moment without a leader. */
export class NackError extends TaskError {
  constructor() {
    super("the broker refused the task (basic.nack): it is not queued", EXIT.temporary);
  }
}

/** A connection could not be made or has ended; everything on it is settled as lost. */
export class ConnectionError extends ToolError {
  /** Tells errors of its kind without their class. */
  override readonly name = "ConnectionError";
  /**
   * Temporary unless told otherwise.
   *
   * @param fatal trying the same endpoint again cannot help before somebody changes something
   *   (login refused, vhost missing, certificate not trusted)
   */
  constructor(
    message: string,
    exitCode: number = EXIT.temporary,
    readonly fatal = false,
    options?: ErrorOptions,
  ) {
    super(message, exitCode, options);
  }
}

/** The same task may be confirmed when it is sent again, without anybody changing something. */
export function isPassing(error: unknown): error is ToolError {
  if (error instanceof TaskError) return error instanceof NackError;
  return error instanceof ToolError && error.exitCode === EXIT.temporary;
}

/** It stays so before somebody changes something. */
export function isLasting(error: ToolError): boolean {
  return error instanceof ConnectionError ? error.fatal : !isPassing(error);
}

/** The broker closed a channel, or the connection, for something that was sent on it. */
export function isForWhatWasSent(error: ToolError): error is ChannelError | ConnectionError {
  return error instanceof ChannelError
    ? error.exitCode !== EXIT.temporary
    : error instanceof ConnectionError && error.exitCode === EXIT.protocol;
}

/**
 * The broker closed the channel for another task, which it refuses: who sent that hears of it as a
 * TaskError.
 */
export function isOfAnother(error: unknown): boolean {
  return error instanceof InDoubtError && error.replyCode === 406;
}

/**
 * The exit status for an AMQP reply code (AMQP 0-9-1 section 1.2, and RabbitMQ's use of it).
 *
 * @param replyText tells a queue that is missing from one whose node is down: both are 404
 */
export function exitCodeForReply(replyCode: number, replyText: string): number {
  if (replyCode === 404 && /is down or inaccessible|is stopped by supervisor/.test(replyText)) {
    return EXIT.temporary;
  }
  switch (replyCode) {
    case 311: // CONTENT_TOO_LARGE
      return EXIT.badData;
    case 312: // NO_ROUTE
    case 404: // NOT_FOUND
      return EXIT.unavailable;
    case 402: // INVALID_PATH
    case 403: // ACCESS_REFUSED
    case 530: // NOT_ALLOWED: no such vhost, or no right to it
      return EXIT.noPermission;
    case 406: // PRECONDITION_FAILED
      return EXIT.conflict;
    case 0:
    case 313: // NO_CONSUMERS
    case 320: // CONNECTION_FORCED
    case 405: // RESOURCE_LOCKED
    case 506: // RESOURCE_ERROR
    case 541: // INTERNAL_ERROR
      return EXIT.temporary;
    default:
      return EXIT.protocol;
  }
}

/** The words of an operating system or TLS error, without numbers that mean nothing to users. */
export function reason(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  // A program that may open every file may not open these. What else one may not do Deno says.
  if (error instanceof Deno.errors.NotCapable && words.startsWith("Requires all access")) {
    return "devices and system files are closed to this program";
  }
  const bare = words.replace(/ \(os error \d+\).*$/, "");
  return bare.charAt(0).toLowerCase() + bare.slice(1);
}
