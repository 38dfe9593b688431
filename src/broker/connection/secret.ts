/** What is stored of a password: its scrypt hash, as `scrypt$salt$key` with both in base64. */

/** The cost: 32 MiB and some tens of milliseconds for one guess. */
const SCRYPT = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const KEY_BYTES = 32;
const SALT_BYTES = 16;

export async function secretOf(password: string): Promise<string> {
  const { randomBytes } = await loadCrypto();
  const salt = randomBytes(SALT_BYTES);
  const key = await scrypt(password, salt);
  return `scrypt$${salt.toString("base64")}$${key.toString("base64")}`;
}

export async function isPasswordOf(secret: string, password: string): Promise<boolean> {
  const { timingSafeEqual } = await loadCrypto();
  const [, salt, key] = secret.split("$");
  return timingSafeEqual(await scrypt(password, decode(salt!)), decode(key!));
}

async function scrypt(password: string, salt: Uint8Array): Promise<Buffer> {
  const { scrypt } = await loadCrypto();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(password, salt, KEY_BYTES, SCRYPT, (error, key) => error ? reject(error) : resolve(key));
  return await promise;
}

/** It takes time to load, which only a broker with users pays. */
function loadCrypto(): Promise<typeof import("node:crypto")> {
  return import("node:crypto");
}

function decode(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
