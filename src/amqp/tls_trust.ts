/** Whom TLS trusts, and who we are. */

/** Files and rules for TLS; every field may be absent. */
export interface TlsTrust {
  /** PEM file of the certificate authorities to trust instead of the built-in ones. */
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
