/** Time zones that V8 does not know by their names are found out. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { type HostTimezone, requireKnownTimezone } from "../../src/cli/host_timezone.ts";
import { UsageError } from "../../src/errors.ts";
import { WallClock } from "../../src/front/wall_clock.ts";
import { run } from "../support/process.ts";

const NOW = Date.UTC(2026, 5, 1);

/** Whether it is refused where V8 takes a host's zone for this one. */
function isRefused(host: Partial<HostTimezone>, taken: string): boolean {
  const clock = new WallClock(taken);
  const offsetAt = (moment: number) => (clock.at(moment) - moment) / 60_000;
  try {
    requireKnownTimezone({ tz: undefined, file: undefined, ...host }, NOW, offsetAt);
    return false;
  } catch (error) {
    if (error instanceof UsageError) return true;
    throw error;
  }
}

function fileOf(rule: string, path = "/etc/localtime"): Partial<HostTimezone> {
  return { file: { path, bytes: new TextEncoder().encode(`TZif2...\n${rule}\n`) } };
}

Deno.test("a rule is known where V8 does what it says", () => {
  const rows: [rule: string, zone: string][] = [
    ["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"],
    ["EST5EDT,M3.2.0,M11.1.0", "America/New_York"],
    ["CST5CDT,M3.2.0/0,M11.1.0/1", "America/Havana"],
    ["AEST-10AEDT,M10.1.0,M4.1.0/3", "Australia/Sydney"],
    ["<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "Australia/Lord_Howe"],
    ["IST-1GMT0,M10.5.0,M3.5.0/1", "Europe/Dublin"],
    ["IST-2IDT,M3.4.4/26,M10.5.0", "Asia/Jerusalem"],
    ["<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "America/Nuuk"],
    ["IST-5:30", "Asia/Kolkata"],
    ["<+03>-3", "Europe/Istanbul"],
    ["UTC0", "UTC"],
  ];
  for (const [rule, zone] of rows) {
    assertEquals([rule, isRefused({ tz: rule }, zone)], [rule, false]);
    assertEquals([rule, isRefused(fileOf(rule), zone)], [rule, false]);
    // What V8 makes of most of them.
    assertEquals([rule, isRefused({ tz: rule }, "UTC")], [rule, zone !== "UTC"]);
    assertEquals([rule, isRefused(fileOf(rule), "Asia/Kabul")], [rule, true]);
  }
  // Summers of other days, and summers that are no more.
  assertEquals(isRefused({ tz: "CST5CDT,M3.2.0/0,M11.1.0/1" }, "America/New_York"), true);
  assertEquals(isRefused(fileOf("CST6"), "America/Chicago"), true);
});

Deno.test("a zone by its name is known, and what is none is not", () => {
  for (const tz of ["Europe/Berlin", "posix/Asia/Tokyo", "EST5EDT", "UTC"]) {
    const name = tz.replace("posix/", "");
    assertEquals([tz, isRefused({ tz }, name), isRefused({ tz }, "Asia/Kabul")], [tz, false, true]);
  }
  for (const tz of ["Europe/Berln", "CET-1CEST,M3", "+03", "nonsense"]) {
    assertEquals([tz, isRefused({ tz }, "UTC")], [tz, true]);
  }
  const path = "/usr/share/zoneinfo/Africa/Cairo";
  const link = fileOf("EET-2EEST,M4.5.5/0,M10.5.4/24", path);
  assertEquals([isRefused(link, "Africa/Cairo"), isRefused(link, "Africa/Tripoli")], [false, true]);
  // Its rule does not say what V8 makes of TZ with a path.
  assertEquals(isRefused({ tz: path, ...link }, "Africa/Tripoli"), true);
  // It says nothing: UTC, as for everybody else.
  assertEquals(isRefused({}, "UTC"), false);
});

Deno.test("V8 itself takes a rule in TZ for UTC", async () => {
  const source = new URL("../../src/cli/host_timezone.ts", import.meta.url).href;
  const script = `import { readHostTimezone, requireKnownTimezone } from "${source}";
    requireKnownTimezone(await readHostTimezone((name) => Deno.env.get(name)), Date.now());`;
  const judge = async (tz: string) =>
    await run(Deno.execPath(), { args: ["eval", "--no-check", script], env: { TZ: tz } });
  for (const tz of ["Europe/Berlin", ":Asia/Tokyo", "", "UTC", "/usr/share/zoneinfo/UTC"]) {
    const { code, stderr } = await judge(tz);
    assertEquals([tz, code], [tz, 0], stderr);
  }
  for (const tz of ["CET-1CEST,M3.5.0,M10.5.0/3", "/usr/share/zoneinfo/Europe/Berlin"]) {
    const { code, stderr } = await judge(tz);
    assertEquals([tz, code], [tz, 1], stderr);
    assertStringIncludes(stderr, `is "${tz}" (TZ): --timezone names one`);
  }
});
