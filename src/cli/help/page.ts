/** What is told about a tool or a subcommand: the source of its help, manual and completions. */
import type { Flags } from "../flags.ts";
import type { Host } from "../main.ts";

export interface HelpPage {
  /** As it is called: "worker dead". */
  readonly name: string;
  /** What it does, in a few words without a full stop, for lists. */
  readonly summary: string;
  readonly usage: readonly string[];
  /** A paragraph. */
  readonly about: string;
  /** What for, and the command line. */
  readonly examples: readonly Example[];
  readonly flags: Flags;
  /** Names of the flags that most need, in the order in which they are shown; all if absent. */
  readonly essential?: readonly string[];
  /** Title and text: see `blocksOf` in layout.ts. */
  readonly sections?: readonly (readonly [string, string])[];
  readonly commands?: Commands;
  /** The words that the first word must be one of, and what they do. */
  readonly actions?: Readonly<Record<string, string>>;
  /** What other words are, for completions; nothing that a shell knows if absent. */
  readonly words?: "command" | "file";
}

export type Example = readonly [purpose: string, command: string];

/** A subcommand. It is loaded when it is called, or told about. */
export interface Command {
  /** What it does, in a few words. */
  readonly summary: string;
  readonly load: () => Promise<{
    /** @param args what stands behind its name */
    readonly run: (host: Host, args: readonly string[]) => Promise<number>;
    readonly help: HelpPage | (() => Promise<HelpPage>);
  }>;
}

/** By name. */
export type Commands = Readonly<Record<string, Command>>;
