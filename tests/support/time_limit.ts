/**
 * Loaded before every test file of a run: a test that does not end by itself fails after
 * TEST_MINUTES, by its name, and the others go on.
 */
type Options = Partial<Deno.TestDefinition>;

const { test } = Deno;
const timeout = Number(Deno.env.get("TEST_MINUTES") ?? 0) * 60_000;

/** As `Deno.test`, with the limit where the test has none of its own. */
function limited(...args: unknown[]): void {
  const last = args.pop() as Deno.TestDefinition["fn"] | Deno.TestDefinition;
  if (typeof last !== "function") return test({ timeout, ...last });
  const [first, more = {}] = args as [(string | Options)?, Options?];
  const options: Options = typeof first === "string" ? { name: first } : first ?? {};
  test({ timeout, name: last.name, ...options, ...more, fn: last } as Deno.TestDefinition);
}

if (timeout > 0) Object.assign(Deno, { test: Object.assign(limited, test) });
