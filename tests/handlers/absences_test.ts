import { assertEquals } from "@std/assert";
import { Absences } from "../../src/handlers/absences.ts";
import { tempDir } from "../support/temp.ts";

/** A minute from now no directory of this test has changed lately. */
const LATER = () => Date.now() + 60_000;

Deno.test("a name that was missing is known to be, until one comes to its directory", async () => {
  await using dir = await tempDir();
  // Where time goes in steps of some milliseconds, all of this may happen in one.
  await Deno.utime(dir.path, 1_700_000_000, 1_700_000_000);
  const absences = new Absences(LATER);
  absences.add(dir.path, "tool");
  assertEquals(absences.has(dir.path, "tool"), true);
  assertEquals(absences.has(dir.path, "other"), false);
  await Deno.writeTextFile(dir.file("tool"), "");
  assertEquals(absences.has(dir.path, "tool"), false);
});

Deno.test("nothing is remembered of a directory that may change unnoticed", async () => {
  await using dir = await tempDir();
  const absences = new Absences();
  absences.add(dir.path, "tool");
  assertEquals(absences.has(dir.path, "tool"), false, "it has just been made");
  absences.add(dir.file("missing"), "tool");
  assertEquals(absences.has(dir.file("missing"), "tool"), false);
});

Deno.test("a name that came after it was looked for is not known to be missing", async () => {
  await using dir = await tempDir();
  const absences = new Absences(LATER);
  await Deno.writeTextFile(dir.file("tool"), "");
  absences.add(dir.path, "tool");
  assertEquals(absences.has(dir.path, "tool"), false);
});

Deno.test("what a link leads to may come at any time", async () => {
  await using dir = await tempDir();
  const absences = new Absences(LATER);
  await Deno.symlink(dir.file("elsewhere"), dir.file("tool"));
  absences.add(dir.path, "tool");
  assertEquals(absences.has(dir.path, "tool"), false);
});
