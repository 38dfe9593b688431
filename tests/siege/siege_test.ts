/** The siege in short, by what clients send. */
import { CONSUMERS } from "./consumers.ts";
import { CONTENTS } from "./contents.ts";
import { LETTERS } from "./letters.ts";
import { ROUTES } from "./routes.ts";
import { testBriefly } from "./short.ts";
import { STORMS } from "./storms.ts";

testBriefly(LETTERS, ROUTES, CONSUMERS, CONTENTS, STORMS);
