/** Every attack of the siege. A new one: a file with one {@link Attack}, and its line here. */
import { BODIES } from "./bodies.ts";
import { CONSUMERS } from "./consumers.ts";
import { CONTENTS } from "./contents.ts";
import { CROWDS } from "./crowds.ts";
import { ENDINGS } from "./endings.ts";
import { HISTORIES } from "./histories.ts";
import { HOLDERS } from "./holders.ts";
import { KEEPERS } from "./keepers.ts";
import { LETTERS } from "./letters.ts";
import { LOOKERS } from "./lookers.ts";
import { LOGINS } from "./logins.ts";
import { MAZES } from "./mazes.ts";
import { ROUTES } from "./routes.ts";
import { STORMS } from "./storms.ts";
import { TRANSACTIONS } from "./transactions.ts";
import { TURNS } from "./turns.ts";
import type { Attack } from "./siege.ts";

export const ATTACKS: readonly Attack[] = [
  ...LETTERS,
  ...ROUTES,
  ...CONSUMERS,
  ...CONTENTS,
  ...BODIES,
  ...STORMS,
  ...LOGINS,
  ...TURNS,
  ...ENDINGS,
  ...KEEPERS,
  ...HISTORIES,
  ...CROWDS,
  ...MAZES,
  ...TRANSACTIONS,
  ...HOLDERS,
  ...LOOKERS,
];
