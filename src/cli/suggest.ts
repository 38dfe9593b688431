/** What somebody may have meant by a word that nobody knows. Loaded when there is one. */
import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import type { Flags } from "./flags.ts";

/** The name that is near enough to be meant, or undefined. */
export function nearest(given: string, names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  const letters = (name: string) => [...name].sort().join("");
  const mixedUp = names.find((name) => letters(name) === letters(given));
  if (mixedUp !== undefined) return mixedUp;
  const longer = names.find((name) => name.startsWith(`${given}-`));
  if (longer !== undefined) return longer;
  const name = closestString(given, names);
  const near = levenshteinDistance(given, name) <= Math.max(1, Math.floor(name.length / 3));
  return near ? name : undefined;
}

/**
 * The end of a sentence about a word that is not known: "; did you mean worker dead?", or nothing.
 *
 * @param before what stands before the name where it is used: "worker "
 */
export function didYouMean(given: string, names: readonly string[], before = ""): string {
  if (given === "help" || given === "version") return `; did you mean --${given}?`;
  const name = nearest(given, names);
  return name === undefined ? "" : `; did you mean ${before}${name}?`;
}

/** The sentence for an option that no flag has. */
export function unknownOption(given: string, flags: Flags): string {
  const hint = given === "-v" && Object.hasOwn(flags, "version")
    ? "; did you mean --version?"
    : didYouMean(given.replace(/^-+/, ""), Object.keys(flags), "--");
  return `the option ${JSON.stringify(given)} is not known${hint || "; --help all lists them"}`;
}
