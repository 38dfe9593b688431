/** Certificates for tests, made by openssl. */
import { run } from "../support/process.ts";

export interface Certificates {
  /** PEM files. The authority that signed the two below. */
  readonly ca: string;
  /** For the host names localhost, broker.test and those asked for; not for any address. */
  readonly server: { readonly cert: string; readonly key: string };
  /** A client's, with this common name. */
  readonly client: { readonly cert: string; readonly key: string };
  /** A client's, with a name that is no user's. */
  readonly stranger: { readonly cert: string; readonly key: string };
  /** An authority that signed nothing. */
  readonly otherCa: string;
}

export const CLIENT_NAME = "client-of-tests";

const LIFE = ["-days", "2"];

/** @param names other names of hosts that the server's certificate is for */
export async function makeCertificates(
  dir: string,
  names: readonly string[] = [],
): Promise<Certificates> {
  async function openssl(...args: string[]): Promise<void> {
    const { code, stderr } = await run("openssl", { args, cwd: dir });
    if (code !== 0) throw new Error(`openssl ${args.join(" ")} failed: ${stderr}`);
  }
  /** A new key, and a request of its owner's or, with more options, something made of that. */
  async function requested(name: string, file: string, commonName: string, ...more: string[]) {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const files = ["-keyout", `${name}.key`, "-out", file];
    await openssl("req", ...key, ...files, "-subj", `/CN=${commonName}`, ...more);
  }
  async function authority(name: string): Promise<string> {
    await requested(name, `${name}.pem`, name, "-x509", ...LIFE);
    return `${dir}/${name}.pem`;
  }
  async function signed(name: string, commonName: string, extensions: string) {
    await Deno.writeTextFile(`${dir}/${name}.ext`, extensions);
    await requested(name, `${name}.csr`, commonName);
    const signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    const files = ["-in", `${name}.csr`, "-out", `${name}.pem`, "-extfile", `${name}.ext`];
    await openssl("x509", "-req", ...files, ...signer, ...LIFE);
    return { cert: `${dir}/${name}.pem`, key: `${dir}/${name}.key` };
  }
  const [ca, otherCa] = await Promise.all([authority("ca"), authority("other")]);
  const server = await signed(
    "server",
    "localhost",
    `subjectAltName=${["localhost", "broker.test", ...names].map((name) => `DNS:${name}`)}\n` +
      "extendedKeyUsage=serverAuth\n",
  );
  const client = await signed("client", CLIENT_NAME, "extendedKeyUsage=clientAuth\n");
  const stranger = await signed("stranger", "stranger", "extendedKeyUsage=clientAuth\n");
  return { ca, otherCa, server, client, stranger };
}
