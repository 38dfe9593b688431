/** Who has how much of something, by users, and by the networks from which each of them comes. */

export interface Owner {
  readonly user: string;
  readonly network: string;
}

interface Share {
  readonly key: string;
  bytes: number;
  /** Parts of it. */
  parts: number;
}

/** Something that an owner has, or waits for. */
export interface Part {
  readonly bytes: number;
  /** Of the user, and of him from that network. Written by {@link Shares}. */
  readonly shares: readonly [Share, Share];
}

export class Shares {
  readonly #shares = new Map<string, Share>();

  /** Something that is waited for. */
  part({ user, network }: Owner, bytes: number): Part {
    const ofUser = this.#share(JSON.stringify([user]));
    const ofNetwork = this.#share(JSON.stringify([user, network]));
    return { bytes, shares: [ofUser, ofNetwork] };
  }

  #share(key: string): Share {
    let share = this.#shares.get(key);
    if (share === undefined) this.#shares.set(key, share = { key, bytes: 0, parts: 0 });
    share.parts++;
    return share;
  }

  give(part: Part): void {
    for (const share of part.shares) share.bytes += part.bytes;
  }

  /** @param isGiven it is not only waited for */
  drop(part: Part, isGiven: boolean): void {
    for (const share of part.shares) {
      if (isGiven) share.bytes -= part.bytes;
      if (--share.parts === 0) this.#shares.delete(share.key);
    }
  }
}

/** Whether one is before another: its user has less, or he has less from its network. */
export function isBefore({ shares: [user, network] }: Part, other: Part): boolean {
  const [otherUser, otherNetwork] = other.shares;
  return user === otherUser ? network.bytes < otherNetwork.bytes : user.bytes < otherUser.bytes;
}
