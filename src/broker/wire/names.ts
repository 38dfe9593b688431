/** Names that the broker gives, and what it makes of those that it is given. */

/** @param prefix for example `amq.gen-`; 128 random bits follow, in base64url */
export function randomName(prefix: string): string {
  return prefix +
    randomBase64().replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** 128 random bits in base64. */
export function randomBase64(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
}

/** RabbitMQ takes line breaks out of the names that are declared, bound and deleted. */
export function withoutLineBreaks(name: string): string {
  return name.replace(/[\r\n]/g, "");
}
