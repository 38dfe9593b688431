/** What somebody asked for cannot be done, for a reason that he is told. */

export type RefusalKind = "missing" | "invalid" | "conflict" | "unavailable";

export class Refusal extends Error {
  override readonly name = "Refusal";

  constructor(readonly kind: RefusalKind, message: string) {
    super(message);
  }
}
