/**
 * A real `deno compile` for a machine that reaches npm but not the downloads of Deno.
 *
 * `deno compile` puts denort, Deno's runtime without its tools, in front of the program. npm has
 * every Deno release but not denort. One npm package is itself a program compiled with Deno 2.4.2:
 * what precedes its embedded payload is the unmodified denort 2.4.2, which is cut out here, checked
 * against its known hash and put beside the Deno of the same version.
 *
 * Linux x86_64 only. Installs once, into ~/.cache/workqueue-denort.
 */

/** Of the runtime that npm has. */
export const OFFLINE_VERSION = "2.4.2";

const DENO = `deno@${OFFLINE_VERSION}`;
const CARRIER = "@vltpkg/cli-linux-x64@0.0.0-18";
const CARRIER_PROGRAM = "node_modules/@vltpkg/cli-linux-x64/vlt";
const DENORT_SHA256 = "2705685d7478610b98dcd43acecd457a19810146323041c8af8a88f7dd0b5e82";

/** What follows denort in a program compiled by Deno 2.4 begins and ends with these bytes. */
const PAYLOAD_START = "d3n0l4nd";
const PAYLOAD_FOOTER_MAGIC = 0x501e;

/** A compiler and the runtime that fits it; both are absolute paths. */
export interface OfflineCompiler {
  readonly deno: string;
  readonly denort: string;
}

/**
 * Installs the two programs, or finds them installed.
 *
 * @throws Error on another platform, when npm fails, and when the runtime is not the expected one
 */
export async function prepareOfflineDenort(): Promise<OfflineCompiler> {
  if (Deno.build.target !== "x86_64-unknown-linux-gnu") {
    throw new Error(
      `Cannot prepare an offline denort: needs Linux x86_64 with glibc, this is ${Deno.build.target}`,
    );
  }
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  const folder = `${cache}/workqueue-denort`;
  const compiler = {
    deno: `${folder}/node_modules/@deno/linux-x64-glibc/deno`,
    denort: `${folder}/denort-${DENORT_SHA256.slice(0, 8)}`,
  };
  if (await isFile(compiler.deno) && await isFile(compiler.denort)) return compiler;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/package.json`, '{"private":true}\n');
  await npmInstall(folder);
  const denort = cutPayload(await Deno.readFile(`${folder}/${CARRIER_PROGRAM}`));
  await checkHash(denort);
  const part = `${compiler.denort}.${Deno.pid}`;
  await Deno.writeFile(part, denort, { mode: 0o755 });
  await Deno.rename(part, compiler.denort);
  await Deno.remove(`${folder}/node_modules/@vltpkg`, { recursive: true });
  return compiler;
}

async function npmInstall(folder: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("npm", {
    args: ["install", "--no-audit", "--no-fund", "--ignore-scripts", DENO, CARRIER],
    cwd: folder,
    stdin: "null",
  }).output();
  if (success) return;
  throw new Error(`Cannot install ${DENO} with npm: ${new TextDecoder().decode(stderr).trim()}`);
}

/**
 * Takes the runtime off a compiled program. The last 16 bytes are a footer of little-endian
 * numbers: magic (32 bits), a name (32), and the payload's size including the footer (64).
 */
function cutPayload(program: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const footer = new DataView(program.buffer, program.byteOffset + program.length - 16);
  const start = program.length - Number(footer.getBigUint64(8, true));
  const marker = program.subarray(start, start + PAYLOAD_START.length);
  if (
    footer.getUint32(0, true) !== PAYLOAD_FOOTER_MAGIC ||
    new TextDecoder().decode(marker) !== PAYLOAD_START
  ) {
    throw new Error(`Cannot cut denort out of ${CARRIER}: it must hold a payload of deno compile`);
  }
  return program.subarray(0, start);
}

async function checkHash(denort: Uint8Array<ArrayBuffer>): Promise<void> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", denort));
  const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex === DENORT_SHA256) return;
  throw new Error(
    `Cannot use the denort of ${CARRIER}: its SHA-256 must be ${DENORT_SHA256}, ` +
      `and is ${hex}`,
  );
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
