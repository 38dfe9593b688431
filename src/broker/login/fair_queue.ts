/**
 * Work that is done a few pieces at a time, in turn for everybody who has some: for the subjects of
 * the work, and for each subject for those who ask. Those who are trusted go before those who are
 * not. What finds no room is refused.
 */

export interface Owner {
  /** What the work is about: no subject waits for the crowd of another. */
  readonly subject: string;
  /** Who asks. */
  readonly asker: string;
  readonly isTrusted: boolean;
}

/** There was too much work already. */
export class CrowdedError extends Error {
  override readonly name = "CrowdedError";
}

interface Task {
  readonly owner: Owner;
  start(): Promise<void>;
  refuse(): void;
}

/** The tasks of one subject: for each asker in order. */
type Turns = Map<string, Task[]>;

/** The first of these who has a task is served first. */
interface Subject {
  readonly trusted: Turns;
  readonly others: Turns;
  size: number;
}

export class FairQueue {
  readonly #width: number;
  readonly #most: number;
  /** The first one is next. */
  readonly #subjects = new Map<string, Subject>();
  #size = 0;
  #working = 0;

  /**
   * @param width pieces of work at a time
   * @param most pieces that wait
   */
  constructor(width: number, most: number) {
    this.#width = width;
    this.#most = most;
  }

  /** @throws {CrowdedError} when others go first and there is no room to wait */
  add<T>(owner: Owner, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#push({
        owner,
        start: () => work().then(resolve, reject),
        refuse: () => reject(new CrowdedError()),
      });
      while (this.#size > this.#most) this.#drop().refuse();
      while (this.#working < this.#width && this.#size > 0) this.#work();
    });
  }

  #push(task: Task): void {
    const { subject: name, asker, isTrusted } = task.owner;
    let subject = this.#subjects.get(name);
    if (subject === undefined) {
      this.#subjects.set(name, subject = { trusted: new Map(), others: new Map(), size: 0 });
    }
    const turns = isTrusted ? subject.trusted : subject.others;
    const tasks = turns.get(asker);
    if (tasks === undefined) turns.set(asker, [task]);
    else tasks.push(task);
    subject.size++;
    this.#size++;
  }

  /** Takes out the task that is next. The subject and the asker are behind all others then. */
  #next(): Task {
    const [name, subject] = this.#subjects.entries().next().value!;
    const turns = subject.trusted.size > 0 ? subject.trusted : subject.others;
    const [asker, tasks] = turns.entries().next().value!;
    const task = tasks.shift()!;
    turns.delete(asker);
    if (tasks.length > 0) turns.set(asker, tasks);
    this.#subjects.delete(name);
    if (--subject.size > 0) this.#subjects.set(name, subject);
    this.#size--;
    return task;
  }

  /** Takes out the last task of whoever crowds most: of the subject, and among its askers. */
  #drop(): Task {
    const [name, subject] = largest(this.#subjects, ({ size }) => size);
    const turns = subject.others.size > 0 ? subject.others : subject.trusted;
    const [asker, tasks] = largest(turns, ({ length }) => length);
    const task = tasks.pop()!;
    if (tasks.length === 0) turns.delete(asker);
    if (--subject.size === 0) this.#subjects.delete(name);
    this.#size--;
    return task;
  }

  async #work(): Promise<void> {
    this.#working++;
    while (this.#size > 0) await this.#next().start();
    this.#working--;
  }
}

/** The last of the largest. */
function largest<T>(entries: Map<string, T>, sizeOf: (value: T) => number): [string, T] {
  let found: [string, T] | undefined;
  for (const entry of entries) {
    if (found === undefined || sizeOf(entry[1]) >= sizeOf(found[1])) found = entry;
  }
  return found!;
}
