/** Whether this host speaks IPv6, if only to itself: some containers do not. */

/** Why it does not, or undefined. For `ignore` and the name of a test. */
export const ipv6Missing: string | undefined = (() => {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return undefined;
  } catch {
    return "there is no IPv6 loopback";
  }
})();

type Declare = (name: string, fn: () => Promise<void>) => void;

/** Declares a test that needs it, as `declare` does, or ignores it with the reason in its name. */
export function ipv6Test(
  name: string,
  fn: () => Promise<void>,
  declare: Declare = Deno.test,
): void {
  if (ipv6Missing === undefined) declare(name, fn);
  else Deno.test.ignore(`${name} (ignored: ${ipv6Missing})`, fn);
}
