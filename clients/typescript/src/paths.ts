/** The address of one session's player, and how far it is believed. */

import { timingSafeEqual } from "node:crypto";
import type { Opened } from "./records.js";

/** An address that has proved nothing gets at most this many times what came from it (RFC 9000, section 8). */
const AMPLIFICATION = 3;

/**
 * An address proves itself by a handshake, or by the answer to a question: whoever finishes or answers it has read our
 * message, which went to that address and to no other. Any other record proves that the player sent it, not that the
 * player is where it says: a player may forge its own source address to have a stranger flooded.
 */
export class Path {
  verified = false;
  #address: string;
  /** Bytes from and to this address. */
  #came: number;
  #sent = 0;
  /** Finishing the handshake would prove the address. */
  #provable: boolean;
  #latest: { epoch: number; counter: bigint } | undefined;
  /** The last address that had proved itself. */
  #home: string | undefined;
  #asked: Uint8Array | undefined;

  constructor(address: string, came: number, provable: boolean) {
    this.#address = address;
    this.#came = came;
    this.#provable = provable;
  }

  get address(): string {
    return this.#address;
  }

  /** So many bytes that name this session. */
  cameFrom(source: string, size: number): void {
    if (source === this.#address) {
      this.#came += size;
    }
  }

  /** Whether a message may go to the address now; it counts as sent if so. */
  maySend(size: number): boolean {
    if (this.verified) {
      return true;
    }
    if (this.#sent + size > AMPLIFICATION * this.#came) {
      return false;
    }
    this.#sent += size;
    return true;
  }

  /** A handshake message of ours went to another address, so finishing proves nothing about this one. */
  answeredElsewhere(): void {
    this.#provable = false;
  }

  /** The player finished the handshake with a message that needed ours. */
  finished(source: string): void {
    this.verified ||= this.#provable && source === this.#address;
  }

  /** A record opened that came from `source`; whether the player is now followed to there. */
  opened(source: string, size: number, record: Opened): boolean {
    // Calls run side by side: an answer may come after that of a newer record.
    if (!record.newest || !this.#isLatest(record)) {
      return false;
    }
    this.#latest = { epoch: record.epoch, counter: record.counter };
    if (source === this.#address) {
      if (!record.early) {
        this.finished(source);
      }
      return false;
    }
    if (this.verified) {
      this.#home = this.#address;
    }
    this.#address = source;
    this.verified = source === this.#home;
    [this.#came, this.#sent, this.#provable, this.#asked] = [size, 0, false, undefined];
    return true;
  }

  /** A question with this token goes to the address, and to no other. */
  ask(token: Uint8Array): void {
    this.#asked = token;
  }

  /** A record from `source` has answered the question with this token, empty for none. */
  answered(source: string, token: Uint8Array): void {
    const asked = this.#asked;
    if (asked !== undefined && token.length > 0 && token.length === asked.length && source === this.#address) {
      this.verified ||= timingSafeEqual(token, asked);
    }
  }

  #isLatest({ epoch, counter }: Opened): boolean {
    const latest = this.#latest;
    return latest === undefined || epoch > latest.epoch || (epoch === latest.epoch && counter > latest.counter);
  }
}
