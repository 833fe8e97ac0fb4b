/**
 * The pass line, and dice that nobody can choose. The table commits itself to a seed before it hears the player's bet and
 * luck, and shows the seed when the round has ended; lobby and page both reckon with this file.
 */

import { hex, joined } from "./wire.js";

export const STAKE = 100;
export const BET = 10;

export type Dice = readonly [number, number];
export type Outcome = "win" | "lose";

const COME_OUT: Readonly<Record<number, Outcome>> = { 7: "win", 11: "win", 2: "lose", 3: "lose", 12: "lose" };

/** The point after a throw (0: none), and the outcome where the throw ends the round. */
export function judge(point: number, total: number): { point: number; outcome: Outcome | "" } {
  if (point === 0) {
    const outcome = COME_OUT[total] ?? "";
    return { point: outcome === "" ? total : 0, outcome };
  }
  if (total === point) {
    return { point, outcome: "win" };
  }
  return { point, outcome: total === 7 ? "lose" : "" };
}

/** What the table shows before the bet. */
export async function commitment(seed: string): Promise<string> {
  return hex(await sha256(`dice commitment ${seed}`));
}

/**
 * The dice of throw 0, 1, ... of a round. Bytes from 252 on are passed over: 252 is a multiple of six, so each face is as
 * likely as any other.
 */
export async function dice(seed: string, luck: string, number: number): Promise<Dice> {
  let bytes = await sha256(`${seed}|${luck}|${number}`);
  for (;;) {
    const [first, second] = bytes.filter((byte) => byte < 252);
    if (first !== undefined && second !== undefined) {
      return [(first % 6) + 1, (second % 6) + 1];
    }
    bytes = await sha256(hex(bytes));
  }
}

/** 16 bytes in hexadecimal digits that nobody foresees: a seed, or a player's luck. */
export function chance(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(new TextEncoder().encode(text)) as BufferSource));
}
