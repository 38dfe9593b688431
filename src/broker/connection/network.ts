/** Where a client comes from, as those see it who count by it. */

/**
 * The network of an address: an IPv4 address by itself, of an IPv6 address its first 64 bits, of
 * which a host may have all the rest.
 */
export function networkOf(address: string): string {
  const [plain] = address.split("%");
  const mapped = plain!.match(/^::ffff:(\d+\.\d+\.\d+\.\d+)$/i);
  if (mapped !== null) return mapped[1]!;
  if (!plain!.includes(":")) return plain!;
  const [head, tail] = plain!.split("::") as [string, string?];
  const groups = head === "" ? [] : head.split(":");
  // What "::" stands for is as many zeros as the groups behind it leave room for.
  const behind = tail
    ? tail.split(":").reduce((n, part) => n + (part.includes(".") ? 2 : 1), 0)
    : 0;
  if (tail !== undefined) {
    while (groups.length < 8 - behind) groups.push("0");
    if (tail !== "") groups.push(...tail.split(":"));
  }
  return groups.slice(0, 4).map((group) => parseInt(group, 16).toString(16)).join(":");
}
