/** The subcommands of `broker`. */
import type { Commands } from "./help/page.ts";

/** None so far; a row here is called, suggested, and in help, manual and completions. */
export const BROKER_COMMANDS: Commands = {};
