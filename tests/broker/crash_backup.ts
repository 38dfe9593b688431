/** A backup that is made while the crash test loads the broker, restored, and compared. */
import { type EmbeddedBroker, startBroker } from "../support/embedded.ts";
import { run } from "../support/process.ts";
import { tempDir } from "../support/temp.ts";
import { brokerCommand } from "./harness.ts";
import type { Ledger, Verdict } from "./ledger.ts";

export class Backup {
  readonly #file: string;
  /** What was confirmed before it began, and was not acknowledged until it was made. */
  readonly #promised: readonly string[];

  private constructor(file: string, promised: readonly string[]) {
    this.#file = file;
    this.#promised = promised;
  }

  /** @throws {Error} it cannot be made */
  static async make(broker: EmbeddedBroker, ledger: Ledger): Promise<Backup> {
    const file = `${broker.data}/../backup`;
    await Deno.remove(file).catch(() => {});
    const before = ledger.promised();
    await act("backup", "--data", broker.data, file);
    const after = new Set(ledger.promised());
    return new Backup(file, before.filter((id) => after.has(id)));
  }

  /** @param read tells what is in the queues of a broker with an API */
  async compare(
    read: (broker: EmbeddedBroker) => Promise<ReadonlyMap<string, readonly string[]>>,
    verdict: Verdict,
    say: (sentence: string) => void,
  ): Promise<void> {
    await using dir = await tempDir();
    const data = dir.file("data");
    await act("restore", "--data", data, this.#file);
    await using broker = await startBroker({
      args: ["--http", "0"],
      async prepare(folder) {
        await Deno.remove(folder);
        await Deno.rename(data, folder);
      },
    });
    const found = new Set([...(await read(broker)).values()].flat());
    for (const id of this.#promised) {
      verdict.backedUp++;
      if (!found.has(id)) verdict.lost++, say(`lost in a backup: ${id}`);
    }
  }
}

async function act(...args: string[]): Promise<void> {
  const [command, ...rest] = brokerCommand(args);
  const { code, stderr } = await run(command, { args: rest });
  if (code !== 0) throw new Error(`broker ${args[0]} ended with ${code}: ${stderr}`);
}
