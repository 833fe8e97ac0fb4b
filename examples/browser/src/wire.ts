/**
 * What travels between page and lobby, and how it is framed; both use this file, and no crypto is in it.
 *
 * One binary WebSocket frame is one Noise message. The first has the pattern's number before it. What a record's plaintext
 * is, its first byte says: a game message in JSON, a handshake message of a rotation, or the mark after which its
 * sender's records are under the new keys.
 */

/** Bound into every handshake: both ends must mean the same game. */
export const PROLOGUE = new TextEncoder().encode("noisegate browser dice 1");

/** The patterns that a player begins with, numbered as noisegate's contract does: XX knows nobody, IK the table's key. */
export const PATTERNS = { XX: 1, IK: 2 } as const;
export type PatternName = keyof typeof PATTERNS;

/** A close code of the game's own: the player's handshake, or what it speaks, was refused. */
export const REFUSED = 4_001;

/** First bytes of a plaintext. */
export const GAME = 0x47;
export const ROTATE = 0x52;
export const SWITCH = 0x53;

/** What noisegate was asked for, and how long its answer took in milliseconds. */
export interface Call {
  rpc: string;
  ms: number;
}

/** A seat as its player sees it; the dice and the outcome are those of the last throw. */
export interface View {
  round: number;
  /** SHA-256 of the seed that the table will throw with; shown before the bet. */
  commitment: string;
  money: number;
  bet: number;
  /** 0 before there is one. */
  point: number;
  /** Throws of this round so far. */
  throws: number;
  dice: readonly [number, number] | null;
  outcome: "" | "win" | "lose";
  /** The seed of the round that has just ended, for the player to check the dice. */
  seed: string;
}

/** What a player says. */
export type Said = { t: "bet"; amount: number; luck: string } | { t: "throw" };

/** What the table says. `calls` is what noisegate did since it last said something, but for the sealing. */
export type Told = { calls: Call[] } & (
  | { t: "welcome"; back: boolean; protocol: string; hash: string; view: View }
  | { t: "table"; view: View }
  | { t: "rotated"; epoch: number }
  | { t: "refused"; reason: string; bytes: number }
  | { t: "wrong"; why: string }
);

/** A plaintext: its mark, then its content. */
export function marked(mark: number, content: Uint8Array = new Uint8Array()): Uint8Array {
  return joined(Uint8Array.of(mark), content);
}

/** A game message as a plaintext. */
export function game(message: Said | Told): Uint8Array {
  return marked(GAME, new TextEncoder().encode(JSON.stringify(message)));
}

/** What a player said. Throws a SyntaxError or a TypeError where it is nothing that a player says. */
export function said(content: Uint8Array): Said {
  const message: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
  if (typeof message === "object" && message !== null && "t" in message) {
    if (message.t === "throw") {
      return { t: "throw" };
    }
    if (message.t === "bet" && "amount" in message && "luck" in message) {
      const { amount, luck } = message;
      if (Number.isSafeInteger(amount) && typeof luck === "string" && /^[0-9a-f]{32}$/.test(luck)) {
        return { t: "bet", amount: Number(amount), luck };
      }
    }
  }
  throw new TypeError("no game message");
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function same(one: Uint8Array, other: Uint8Array): boolean {
  return hex(one) === hex(other);
}
