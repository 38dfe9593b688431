/** Whether a service manager wants to be told how it goes. */
import type { Host } from "./main.ts";
import type { ServiceManager } from "./service_manager.ts";

/** What it gives to the program that it starts, and to none that that one starts. */
export const SERVICE_VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] as const;

/**
 * @param describe how things are, in a few words
 * @returns undefined: there is none, or it cannot be told anything, which is logged
 */
export async function openServiceManager(
  host: Host,
  describe: () => string,
): Promise<ServiceManager | undefined> {
  const path = host.env("NOTIFY_SOCKET");
  if (!path) return undefined;
  const { complain, ServiceManager } = await import("./service_manager.ts");
  try {
    return new ServiceManager(host, path, describe);
  } catch (error) {
    complain(host, error);
    return undefined;
  }
}

/** "2 connections, 1 queue", without what is 0. */
export function inWords(
  facts: readonly (readonly [count: number, one: string, many?: string])[],
): string {
  return facts.filter(([count]) => count > 0)
    .map(([count, one, many = one]) => `${count} ${count === 1 ? one : many}`)
    .join(", ");
}
