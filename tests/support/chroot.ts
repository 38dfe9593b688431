/**
 * Where a RabbitMQ node's files live: this machine, or the folder of another Debian made by
 * debootstrap, in which commands run by chroot(8) (needs root). RABBITMQ_CHROOT names that
 * folder; rabbitmq-server must be installed in it.
 */
export class SystemRoot {
  /** @param path the other system's folder, or "" for this system */
  constructor(readonly path: string) {}

  static fromEnv(): SystemRoot {
    return new SystemRoot((Deno.env.get("RABBITMQ_CHROOT") ?? "").replace(/\/+$/, ""));
  }

  /** Where to make files that commands inside can see; undefined for the default place. */
  get tempParent(): string | undefined {
    return this.path === "" ? undefined : `${this.path}/tmp`;
  }

  /** A path of ours as commands inside see it. */
  inside(path: string): string {
    if (this.path === "") return path;
    if (!path.startsWith(`${this.path}/`)) {
      throw new Error(`A file for a chroot must lie in ${this.path}: ${path}`);
    }
    return path.slice(this.path.length);
  }

  /** The command line that runs `command` inside. */
  command(command: readonly string[]): readonly string[] {
    return this.path === "" ? command : ["chroot", this.path, ...command];
  }

  /** Whether a file exists inside. */
  has(path: string): boolean {
    try {
      return Deno.statSync(this.path + path).isFile;
    } catch {
      return false;
    }
  }
}
