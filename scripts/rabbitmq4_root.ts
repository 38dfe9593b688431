/** A Debian 13 with its RabbitMQ 4.0, as a folder for chroot. */
// deno-lint-ignore-file no-console

const RELEASE = "trixie";

/** The folder of a Debian 13 with rabbitmq-server in it, made when it is not there. */
export async function prepareDebian(): Promise<string> {
  const cache = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const folder = `${cache}/workqueue-debian13`;
  if (await exists(folder)) return folder;
  const part = `${folder}.part`;
  await Deno.mkdir(cache, { recursive: true });
  if (await exists(part)) await Deno.remove(part, { recursive: true });
  console.error(`Making ${folder}, which takes some minutes ...`);
  await debootstrap(part);
  await Deno.rename(part, folder);
  return folder;
}

async function debootstrap(folder: string): Promise<void> {
  const { success, stdout } = await new Deno.Command("debootstrap", {
    args: ["--variant=minbase", "--include=rabbitmq-server", RELEASE, folder],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (success) return;
  const last = new TextDecoder().decode(stdout).trim().split("\n").slice(-5).join("\n");
  throw new Error(`debootstrap failed:\n${last}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
