/** The options that have to do with no task and no broker, the same for all tools. */
import { choice, type Flag, list, toggle } from "./flags.ts";
import { LOG_FLAGS } from "./log_flags.ts";

/** What `--help` shows without a word behind it. */
export const BRIEF = "brief";

const help: Flag<string | undefined> = {
  group: "general",
  short: "h",
  help: "show the most used options; --help all shows all of them, --help SUBJECT those of one",
  alone: true,
  topics: true,
  fallback: () => undefined,
  parse: (texts) => texts.at(-1) || BRIEF,
};

/** Of tools and their subcommands. */
export const GENERAL_FLAGS = {
  config: list<string>({
    group: "general",
    value: "FILE",
    help: "take options from a file, one a line; the command line comes first, variables last",
    parseOne: (path) => path,
  }),
  help,
  version: toggle({
    group: "general",
    short: "V",
    help: "show the versions of the tool and of Deno, the commit and the target",
    alone: true,
  }),
};

/** Of tools. */
export const TOOL_FLAGS = {
  ...LOG_FLAGS,
  ...GENERAL_FLAGS,
  completions: {
    ...choice({
      group: "general",
      choices: ["bash", "zsh", "fish"],
      help: "print the completions for a shell",
    }),
    alone: true,
  },
};
