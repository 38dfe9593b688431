/** How much memory this process may take: beyond that, Linux kills it, or one beside it. */
import { nodeProcess } from "../observe/node_process.ts";
import { type Flag, size } from "./flags.ts";

/** Of the tools that keep to it. */
export const HOST_MEMORY: Flag<number | undefined> = size({
  group: "limits",
  min: 16 * 1024 * 1024,
  help: "the memory that there is for this program and those beside it, such as 128M (default: " +
    "that of its control group, or of the machine)",
  env: "HOST_MEMORY",
});

/**
 * In bytes; undefined: nobody tells.
 * @param told by the user: an old Deno knows nothing of control groups
 */
export function hostMemory(told: number | undefined): number | undefined {
  if (told !== undefined) return told;
  const most = Math.min(groupMemory() ?? Infinity, machineMemory() ?? Infinity);
  return most === Infinity ? undefined : most;
}

/**
 * Deno opens no file of /sys to a program, but tells that much of its control group (version 1 or
 * 2): where that has no limit, nothing or more than any machine has.
 */
function groupMemory(): number | undefined {
  try {
    return nodeProcess().constrainedMemory?.() || undefined;
  } catch {
    return undefined; // this system has no such thing
  }
}

function machineMemory(): number | undefined {
  try {
    return Deno.systemMemoryInfo().total || undefined;
  } catch {
    return undefined;
  }
}
