/** What was done and may not be on disk yet: nobody is told of it before it is. */

import { deadline } from "../../time/deadline.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import { Refusal } from "./refusal.ts";

/** Milliseconds after which somebody is told that the disk does not take what he has asked for. */
const COMMIT_MS = 10_000;

const NOT_ON_DISK = "it is done, and lost if the broker ends now: the disk cannot be written";

/** What came of it, for {@link whenSafe} alone. */
export class Unsafe<T> {
  readonly #result: T;

  constructor(result: T) {
    this.#result = result;
  }

  /** What came of it, once all that was changed so far is on disk. @throws {Refusal} that takes long */
  async whenSafe(groupCommit: Pick<GroupCommit, "whenSafe">): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    groupCommit.whenSafe(resolve);
    await deadline(promise, COMMIT_MS, () => new Refusal("unavailable", NOT_ON_DISK));
    return this.#result;
  }
}
