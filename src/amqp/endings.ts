/** Why a connection has ended, in one sentence with its exit status. */
import { ConnectionError, EXIT, exitCodeForReply, reason } from "../errors.ts";
import { tlsFault } from "./dial.ts";
import { type Endpoint, redact } from "./url.ts";

/** The socket has ended. @param cause undefined: the broker closed it */
export function lostConnection(endpoint: Endpoint, cause: unknown): ConnectionError {
  const sentence = `the connection to ${redact(endpoint)} was lost: ${describe(cause)}`;
  return new ConnectionError(sentence, EXIT.temporary, false, { cause });
}

/** The socket has ended before the broker took the login. */
export function lostHandshake(endpoint: Endpoint, cause: unknown): ConnectionError {
  const fault = tlsFault(endpoint, cause);
  if (fault !== undefined) return fault;
  // With TLS 1.3 the broker refuses a client's certificate after the handshake, and its reset may
  // overtake the reason.
  const hint = endpoint.tls ? ", as with a client certificate that is missing or refused" : "";
  const sentence = `cannot log in at ${redact(endpoint)}: ${
    describe(cause)
  } during the handshake${hint}`;
  return new ConnectionError(sentence, EXIT.temporary, false, { cause });
}

/** The broker has sent connection.close. */
export function closedByBroker(endpoint: Endpoint, code: number, text: string): ConnectionError {
  return new ConnectionError(
    `the broker closed the connection to ${redact(endpoint)}: ${text} (${code})`,
    exitCodeForReply(code, text),
  );
}

/** The broker has sent connection.close instead of taking the login. */
export function refusedByBroker(endpoint: Endpoint, code: number, text: string): ConnectionError {
  const exitCode = exitCodeForReply(code, text);
  return new ConnectionError(
    `cannot log in at ${redact(endpoint)}: ${text} (${code})`,
    exitCode,
    exitCode === EXIT.noPermission,
  );
}

export function asConnectionError(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  return new ConnectionError(reason(error), EXIT.temporary, false, { cause: error });
}

function describe(cause: unknown): string {
  return cause === undefined ? "the broker closed the socket" : reason(cause);
}
