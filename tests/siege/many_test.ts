/** The siege in short, by how many there are of something. */
import { CROWDS } from "./crowds.ts";
import { LOOKERS } from "./lookers.ts";
import { MAZES } from "./mazes.ts";
import { testBriefly } from "./short.ts";

testBriefly(CROWDS, MAZES, LOOKERS);
