/** The variables of the environment that tools look at. */
import type { HelpPage } from "./page.ts";

/** A variable, and what it does. */
export type Variable = readonly [name: string, meaning: string];

/** Of no option: the tools that look at them, and why. */
const OTHERS: readonly (readonly [name: string, meaning: string, tools?: RegExp])[] = [
  ["NO_COLOR", "when it is there and not empty: no bold text in the help"],
  ["PATH", "where commands are looked for; /usr/bin:/bin when it is empty", /^worker$/],
  ["TMPDIR", "folder for the files of running commands; /tmp when it is empty", /^worker$/],
  ["TEMP", "the same on Windows", /^worker$/],
  ["TMP", "the same when TEMP is empty", /^worker$/],
];

/** Every variable that a tool or subcommand looks at. */
export function variablesOf({ name, flags }: HelpPage): Variable[] {
  const ofFlags = Object.entries(flags).flatMap(([option, { env, shown }]): Variable[] => {
    if (env === undefined) return [];
    const otherwise = shown === undefined ? "" : `; when that is empty, too: ${shown}`;
    return [[env, `stands in for --${option}${otherwise}`]];
  });
  const others = OTHERS.filter(([, , tools]) => tools === undefined || tools.test(name))
    .map(([variable, meaning]): Variable => [variable, meaning]);
  return [...ofFlags, ...others];
}
