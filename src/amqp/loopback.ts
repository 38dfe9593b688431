/**
 * localhost without asking anybody (RFC 6761, section 6.3): a machine may have neither a resolver
 * nor a file of hosts.
 */

/** In the order in which they are tried. */
export const LOOPBACKS: readonly string[] = ["127.0.0.1", "::1"];

/** Whether a name is localhost, or one below it. */
export function isLocalhost(host: string): boolean {
  return /^(?:[^.]+\.)*localhost\.?$/i.test(host);
}

/** @param address with or without brackets */
export function isLoopback(address: string): boolean {
  return /^(127\.|::1$|::ffff:127\.)/.test(address.replace(/^\[|\]$/g, ""));
}
