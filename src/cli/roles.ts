/**
 * Which of its programs the one binary is, and what that one may do. The binary has the permissions
 * that any of them needs; each has those of its own task in deno.json, and gives up the others
 * before any of its code is loaded.
 */
import config from "../../deno.json" with { type: "json" };

export const ROLES = ["new_task", "worker", "broker"] as const;
export type Role = typeof ROLES[number];

/** A program that was asked for, and its arguments. */
export interface Call {
  readonly role: Role;
  readonly args: readonly string[];
}

type Permission = "net" | "read" | "write" | "env" | "run" | "sys";

const PERMISSIONS: readonly Permission[] = ["net", "read", "write", "env", "run", "sys"];

/**
 * The program of that name, or the one that the first word names.
 *
 * @param name what the binary was called by: the path of a link, of a copy, of itself
 * @returns undefined: neither is a program
 */
export function findCall(name: string, args: readonly string[]): Call | undefined {
  const called = name.replace(/^.*[/\\]/s, "").replace(/\.exe$/i, "");
  const [word = "", ...others] = args;
  if (isRole(called)) return { role: called, args };
  return isRole(word) ? { role: word, args: others } : undefined;
}

function isRole(name: string): name is Role {
  return (ROLES as readonly string[]).includes(name);
}

/**
 * What the flags of `deno run` in a task permit: everything of that kind ([]), or what is listed.
 *
 * @param task the command line of a task in deno.json
 */
export function permissionsIn(task: string): Map<Permission, readonly string[]> {
  const found = new Map<Permission, readonly string[]>();
  for (const [, name, list] of task.matchAll(/ --allow-([a-z]+)(?:=(\S+))?/g)) {
    found.set(name as Permission, list?.split(",") ?? []);
  }
  return found;
}

/**
 * Gives up what the program does not need. Nothing brings it back.
 *
 * @returns how to read a variable of the environment: where the program may read only some, they
 * are read here, and the environment is closed; it throws what reading the variable threw
 */
export function giveUpOthers(
  role: Role,
  readVariable: (name: string) => string | undefined,
): (name: string) => string | undefined {
  const own = permissionsIn(config.tasks[role]);
  const all = permissionsIn(config.tasks.workqueue);
  const variables = own.get("env");
  const isClosed = variables === undefined || variables.length > 0;
  const kept = new Map((isClosed ? variables ?? [] : []).map((name) => [name, attempt(name)]));
  for (const name of PERMISSIONS) {
    const needed = own.get(name);
    if (name === "sys" && needed !== undefined) {
      for (const kind of all.get("sys") ?? []) {
        if (!needed.includes(kind)) revoke({ name, kind } as Deno.SysPermissionDescriptor);
      }
      continue;
    }
    if (needed === undefined || (name === "env" && isClosed)) revoke({ name });
  }
  return isClosed ? (name) => kept.get(name)?.() : readVariable;

  function attempt(name: string): () => string | undefined {
    try {
      const value = readVariable(name);
      return () => value;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }
}

function revoke(descriptor: Deno.PermissionDescriptor): void {
  Deno.permissions.revokeSync(descriptor);
}
