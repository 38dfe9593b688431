/** The siege in short: one of each kind that the other files leave out. */
import { BODIES } from "./bodies.ts";
import { ENDINGS } from "./endings.ts";
import { HISTORIES } from "./histories.ts";
import { HOLDERS } from "./holders.ts";
import { KEEPERS } from "./keepers.ts";
import { LOGINS } from "./logins.ts";
import { testBriefly } from "./short.ts";
import { TRANSACTIONS } from "./transactions.ts";
import { TURNS } from "./turns.ts";

const kinds = [LOGINS, TURNS, ENDINGS, KEEPERS, HISTORIES, TRANSACTIONS, HOLDERS, BODIES];
testBriefly(...kinds.map(([first]) => [first!]));
