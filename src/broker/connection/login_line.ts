/**
 * Where logins wait for their passwords to be hashed: work that is done a few pieces at a time, in
 * turn for the users that it is about, and for each user for the networks that ask. Those of a higher
 * rank go before the others. What finds no room is refused.
 */

export interface Owner {
  /** What the work is about, a user: no subject waits for the crowd of another. */
  readonly subject: string;
  /** Who asks, a network. */
  readonly asker: string;
  /** From 0 on. */
  readonly rank: number;
}

/** There was too much work already. */
export class CrowdedError extends Error {
  override readonly name = "CrowdedError";
}

interface Job {
  readonly owner: Owner;
  start(): Promise<void>;
  refuse(): void;
}

/** The jobs of one subject: for each asker in order. */
type Turns = Map<string, Job[]>;

interface Subject {
  /** By rank; the highest with a job is served first. */
  readonly ranks: (Turns | undefined)[];
  size: number;
}

export class LoginLine {
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

  /** Pieces that wait. */
  get waiting(): number {
    return this.#size;
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

  #push(job: Job): void {
    const { subject: name, asker, rank } = job.owner;
    let subject = this.#subjects.get(name);
    if (subject === undefined) {
      this.#subjects.set(name, subject = { ranks: [], size: 0 });
    }
    const turns = subject.ranks[rank] ??= new Map();
    const jobs = turns.get(asker);
    if (jobs === undefined) turns.set(asker, [job]);
    else jobs.push(job);
    subject.size++;
    this.#size++;
  }

  /** Takes out the job that is next. The subject and the asker are behind all others then. */
  #next(): Job {
    const [name, subject] = this.#subjects.entries().next().value!;
    const turns = subject.ranks.findLast(hasJobs)!;
    const [asker, jobs] = turns.entries().next().value!;
    const job = jobs.shift()!;
    turns.delete(asker);
    if (jobs.length > 0) turns.set(asker, jobs);
    this.#subjects.delete(name);
    if (--subject.size > 0) this.#subjects.set(name, subject);
    this.#size--;
    return job;
  }

  /** Takes out the last job of whoever crowds most: of the subject, and among its lowest askers. */
  #drop(): Job {
    const [name, subject] = largest(this.#subjects, ({ size }) => size);
    const turns = subject.ranks.find(hasJobs)!;
    const [asker, jobs] = largest(turns, ({ length }) => length);
    const job = jobs.pop()!;
    if (jobs.length === 0) turns.delete(asker);
    if (--subject.size === 0) this.#subjects.delete(name);
    this.#size--;
    return job;
  }

  async #work(): Promise<void> {
    this.#working++;
    while (this.#size > 0) await this.#next().start();
    this.#working--;
  }
}

function hasJobs(turns: Turns | undefined): boolean {
  return turns !== undefined && turns.size > 0;
}

/** The last of the largest. */
function largest<T>(entries: Map<string, T>, sizeOf: (value: T) => number): [string, T] {
  let found: [string, T] | undefined;
  for (const entry of entries) {
    if (found === undefined || sizeOf(entry[1]) >= sizeOf(found[1])) found = entry;
  }
  return found!;
}
