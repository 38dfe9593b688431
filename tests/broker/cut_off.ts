/** A bell on a host whose loopback goes, and comes back: to be run in a network namespace of its own. */
// deno-lint-ignore-file no-console
import { Bell } from "../../src/broker/net/bell.ts";

const bell = new Bell();

async function connected(): Promise<void> {
  do await bell.heard(); while (!await isConnected());
}

async function isConnected(): Promise<boolean> {
  const table = await Deno.readTextFile("/proc/net/tcp");
  return table.split("\n").filter((row) => / 01 \d+:/.test(row)).length === 2;
}

async function setLoopback(state: "up" | "down"): Promise<void> {
  await new Deno.Command("ip", { args: ["link", "set", "lo", state] }).output();
}

await setLoopback("up");
await connected();
await setLoopback("down");
await Promise.all([bell.heard(), bell.heard()]);
console.log("heard without");
await setLoopback("up");
await connected();
await bell.heard();
console.log("heard with it");
bell.close();
await bell.heard();
console.log("heard when it is closed");
