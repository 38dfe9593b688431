/** What the clocks on the walls of a time zone show. */

const HOUR_MS = 3_600_000;
/** No two changes of a zone's clocks are nearer, and no zone is farther from UTC. */
const AROUND_MS = 36 * HOUR_MS;

/** Times of a zone, written as the time in UTC that reads the same: 02:30 there is 02:30 in UTC. */
export class WallClock {
  readonly #format: Intl.DateTimeFormat;

  /** @param timezone IANA's name; undefined: this host's */
  constructor(timezone: string | undefined) {
    this.#format = new Intl.DateTimeFormat("en", {
      ...(timezone === undefined ? {} : { timeZone: timezone }),
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** What they show at a moment. Both in milliseconds since 1970; from the year 1 on. */
  at(moment: number): number {
    const parts = this.#format.formatToParts(moment);
    const read = (type: string) => Number(parts.find((part) => part.type === type)!.value);
    const [year, month, day] = [read("year"), read("month"), read("day")];
    const shown = Date.UTC(year, month - 1, day, read("hour"), read("minute"), read("second"));
    return shown + moment - Math.floor(moment / 1_000) * 1_000;
  }

  /** The moment at which they jumped over a time; undefined: they show that one. */
  leapOver(shown: number): number | undefined {
    const [before, after] = [shown - AROUND_MS, shown + AROUND_MS]
      .map((moment) => this.at(moment) - moment) as [number, number];
    if (after <= before) return undefined; // they were not put forward
    let [early, late] = [shown - after, shown - before];
    if (this.at(early) === shown || this.at(late) === shown) return undefined;
    while (late - early > 1) {
      const middle = Math.floor((early + late) / 2);
      if (this.at(middle) > shown) late = middle;
      else early = middle;
    }
    return late;
  }
}
