/** The help of a tool, as data. */
import type { Flags } from "../flags.ts";

/** What `--help` prints. */
export interface HelpPage {
  readonly usage: readonly string[];
  readonly about: string;
  readonly flags: Flags;
  /** Paragraphs after the options: [title, lines]. */
  readonly sections?: readonly (readonly [string, string])[];
}
