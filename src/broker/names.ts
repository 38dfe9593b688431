/** Names that the broker gives. */

/** @param prefix for example `amq.gen-`; 128 random bits follow, in base64url */
export function randomName(prefix: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const base64 = btoa(String.fromCharCode(...bytes));
  return prefix + base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
