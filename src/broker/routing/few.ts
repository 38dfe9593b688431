/** Some values, mostly one: a set of one takes ten times its memory, and there may be very many. */
export type Few<T> = T | Set<T> | undefined;

export function added<T>(few: Few<T>, value: T): Few<T> {
  if (few instanceof Set) return few.add(value);
  return few === undefined || few === value ? value : new Set([few, value]);
}

/** @returns undefined when none is left */
export function removed<T>(few: Few<T>, value: T): Few<T> {
  if (!(few instanceof Set)) return few === value ? undefined : few;
  few.delete(value);
  if (few.size > 1) return few;
  const [last] = few;
  return last;
}

export function all<T>(few: Few<T>): Iterable<T> {
  if (few instanceof Set) return few;
  return few === undefined ? [] : [few];
}
