/** Work that is done one piece after the other, in turn for everybody who has some. */

export class FairQueue {
  /** By whose work it is; the first one is next. */
  readonly #waiting = new Map<string, (() => Promise<void>)[]>();
  #working = false;

  /** @param owner whoever has much work only waits for himself */
  add<T>(owner: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const task = () => work().then(resolve, reject);
      const tasks = this.#waiting.get(owner);
      if (tasks === undefined) this.#waiting.set(owner, [task]);
      else tasks.push(task);
      if (!this.#working) this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (const [owner, tasks] of this.#waiting) {
      const task = tasks.shift()!;
      this.#waiting.delete(owner);
      // Behind all others, and still met by this loop.
      if (tasks.length > 0) this.#waiting.set(owner, tasks);
      await task();
    }
    this.#working = false;
  }
}
