/** Whom TLS trusts, and who we are: the files of it. */
import { EXIT, InputError, reason } from "../errors.ts";

/** Files and rules for TLS; every field may be absent. */
export interface TlsTrust {
  /**
   * PEM file of certificate authorities to trust: beside those that Deno brings along, or instead of
   * them where node:tls connects (dial.ts).
   */
  readonly cacertfile?: string;
  /** PEM files of the client's certificate and its key. */
  readonly certfile?: string;
  readonly keyfile?: string;
  /** Name to expect in the broker's certificate instead of the host. */
  readonly serverName?: string;
  /** false: the broker's certificate is not checked at all. Default true. */
  readonly verify?: boolean;
}

/** As it is put together. */
export type WritableTlsTrust = { -readonly [K in keyof TlsTrust]: TlsTrust[K] };

/** What the files hold. */
export interface Pem {
  ca?: string;
  cert?: string;
  key?: string;
}

/** @throws {InputError} a file cannot be read (66), or holds no such thing (65) */
export async function readPem(trust: TlsTrust): Promise<Pem> {
  if ((trust.certfile === undefined) !== (trust.keyfile === undefined)) {
    throw new InputError(
      "a client certificate needs both a certificate file and a key file, and one is missing",
      EXIT.badData,
    );
  }
  return {
    ...(trust.cacertfile === undefined ? {} : { ca: readPemFile(trust.cacertfile) }),
    ...(trust.certfile === undefined ? {} : await readPair(trust.certfile, trust.keyfile!)),
  };
}

/**
 * Deno.connectTls answers a key of another certificate with a panic or with words for nobody. The
 * public keys are compared because Deno 2.4 has no checkPrivateKey.
 */
async function readPair(
  certfile: string,
  keyfile: string,
): Promise<{ cert: string; key: string }> {
  const [cert, key] = [readPemFile(certfile), readPemFile(keyfile)];
  const { createPrivateKey, createPublicKey, X509Certificate } = await import("node:crypto");
  let pair: boolean;
  try {
    const [certified, own] = [
      new X509Certificate(cert).publicKey,
      createPublicKey(createPrivateKey(key)),
    ].map((publicKey) => publicKey.export({ type: "spki", format: "pem" }));
    pair = certified === own;
  } catch (error) {
    throw new InputError(
      `the files ${JSON.stringify(certfile)} and ${
        JSON.stringify(keyfile)
      } must be a certificate ` +
        `and its key without a passphrase, and cannot be read: ${reason(error)}`,
      EXIT.badData,
      { cause: error },
    );
  }
  if (pair) return { cert, key };
  throw new InputError(
    `the file ${JSON.stringify(keyfile)} must be the key of the certificate in the file ` +
      `${JSON.stringify(certfile)}, and is of another`,
    EXIT.badData,
  );
}

/** @throws {InputError} */
export function readPemFile(path: string): string {
  let content: string;
  try {
    content = Deno.readTextFileSync(path);
  } catch (error) {
    throw new InputError(`cannot read the file ${JSON.stringify(path)}: ${reason(error)}`);
  }
  if (content.includes("-----BEGIN ")) return content;
  throw new InputError(
    `the file ${JSON.stringify(path)} must be PEM, and has no "-----BEGIN" line`,
    EXIT.badData,
  );
}
