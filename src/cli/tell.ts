/** --help, --version and --completions, whatever the tool is. */
import type { HelpPage } from "./help/page.ts";
import type { Paper } from "./help/layout.ts";
import { BRIEF } from "./general_flags.ts";
import type { Host } from "./main.ts";

/** A line that is longer is hard to read. */
const MOST_COLUMNS = 120;
const LEAST_COLUMNS = 40;
/** Of what is no terminal. */
const DEFAULT_COLUMNS = 80;

/** What may have been asked for. */
interface Questions {
  readonly help: string | undefined;
  readonly version: boolean;
  readonly completions?: "bash" | "zsh" | "fish" | undefined;
}

/**
 * Answers what the command line asks about the tool. What that needs is loaded then.
 *
 * @returns whether something was asked
 * @throws {UsageError} nothing is known of that topic
 */
export async function tell(
  host: Host,
  { help, version, completions }: Questions,
  load: () => HelpPage | Promise<HelpPage>,
): Promise<boolean> {
  if (help !== undefined) {
    const [{ renderHelp }, { pageBelow }, page] = await Promise.all([
      import("./help/render.ts"),
      import("./help/tree.ts"),
      load(),
    ]);
    const below = await pageBelow(page, help);
    host.print(renderHelp(below ?? page, below === undefined ? help : BRIEF, paper()));
    return true;
  }
  if (version) {
    host.print(await (await import("./version.ts")).describeVersion(host.name));
    return true;
  }
  if (completions !== undefined) {
    const [{ renderCompletions }, page] = await Promise.all([
      import("./help/completions.ts"),
      load(),
    ]);
    host.print(await renderCompletions(completions, page));
    return true;
  }
  return false;
}

/** What stdout is. */
function paper(): Paper {
  if (!Deno.stdout.isTerminal()) return { columns: DEFAULT_COLUMNS, bold: (text) => text };
  // A terminal of a serial line may not know its size, and says 0.
  const columns = Deno.consoleSize().columns || DEFAULT_COLUMNS;
  return {
    columns: Math.min(MOST_COLUMNS, Math.max(LEAST_COLUMNS, columns)),
    bold: Deno.noColor ? (text) => text : (text) => `\x1b[1m${text}\x1b[22m`,
  };
}
