/** The last minutes: what the broker remembers, and what came since. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { History, Rates } from "../../observe/board.ts";
import { get } from "./api.ts";
import { live } from "./live.ts";

interface Growing {
  at: number[];
  ready: number[];
  in: number[];
  out: number[];
}

/** Milliseconds of it that are kept. */
const KEPT_MS = 310_000;

/**
 * @param read gives the history out of an answer
 * @param now what is true at this moment; undefined: it is not told
 */
export function useHistory(
  path: string,
  read: (answer: never) => History | undefined,
  now: () => { ready: number; rates?: Rates | undefined } | undefined,
): History {
  const history = useRef<Growing>({ at: [], ready: [], in: [], out: [] });
  const [, setTick] = useState(0);
  useEffect(() => {
    let isHere = true;
    history.current = { at: [], ready: [], in: [], out: [] };
    get(path).then((answer) => {
      const told = read(answer as never);
      if (!isHere || told === undefined) return;
      const { at, ready, in: incoming, out } = history.current;
      history.current = {
        at: [...told.at, ...at],
        ready: [...told.ready, ...ready],
        in: [...told.in, ...incoming],
        out: [...told.out, ...out],
      };
      setTick((tick) => tick + 1);
    }, () => {});
    const stop = live.subscribe(() => {
      const value = now();
      if (value === undefined || live.connection.state !== "live") return;
      const { current } = history;
      current.at.push(live.now());
      current.ready.push(value.ready);
      current.in.push(value.rates?.in ?? 0);
      current.out.push(value.rates?.out ?? 0);
      const old = current.at.findIndex((at) => at > live.now() - KEPT_MS);
      if (old > 0) { for (const values of Object.values(current)) values.splice(0, old); }
      setTick((tick) => tick + 1);
    });
    return () => {
      isHere = false;
      stop();
    };
  }, [path, live.absences]);
  return history.current;
}
