/** What a session's handle shows. */

import { inspect } from "node:util";
import type { Facts } from "./facts.js";
import type { EarlyData } from "./noisegate/v1/session_crypto_service_pb.js";
import type { Established, RecordMode } from "./noisegate/v1/session_pb.js";

/**
 * Nothing of it is shown by `console.log` or JSON: ids and names find sessions and people, and belong in no log by
 * accident.
 */
export abstract class Handle {
  /** @internal */
  protected readonly facts: Facts;

  constructor(facts: Facts) {
    this.facts = facts;
  }

  /** 24 bytes, opaque. */
  get id(): Uint8Array {
    return this.facts.id;
  }

  /** HOST:PORT where the session lives; empty for the client's own target. */
  get endpoint(): string {
    return this.facts.endpoint;
  }

  /** How its records travel; unspecified for a handle made from an id alone. */
  get mode(): RecordMode {
    return this.facts.mode;
  }

  /** What the player's packets carry (DATAGRAM): 8 bytes. */
  get connectionId(): Uint8Array {
    return this.facts.connectionId;
  }

  /** The player, as the game (or the ticket) named it. */
  get peerId(): string {
    return this.facts.peerId;
  }

  /** The match, room or table, as the game (or the ticket) named it. */
  get group(): string {
    return this.facts.group;
  }

  /** What the handshake gave; undefined while it is not finished, and for a handle made from an id alone. */
  get established(): Established | undefined {
    return this.facts.established;
  }

  /** After how many milliseconds the handshake is given up, counted from its last step; 0 once it is finished. */
  get pendingForMs(): number {
    return this.facts.pendingForMs;
  }

  /**
   * What the last step of the handshake, or `close`, wants sent to the player, in this order, each on its own. Empty
   * where an `onSend` hook has it.
   */
  get toPeer(): Uint8Array[] {
    return this.facts.toPeer;
  }

  /** That of the player's last handshake message; possibly replayed until a first record has opened. */
  get payload(): Uint8Array {
    return this.facts.payload;
  }

  /** What the game's framing must carry beside message 1 (NOISE, initiating with an offer). */
  get hello(): Uint8Array {
    return this.facts.hello;
  }

  /** What the game's framing must carry beside message 1 (NOISE, initiating a resume). */
  get ticket(): Uint8Array {
    return this.facts.ticket;
  }

  /** What became of a resume's early data. */
  get early(): EarlyData {
    return this.facts.early;
  }

  /** The player's early data, where it was accepted. Secret. Until a first record has opened it may be a replay. */
  get earlyData(): Uint8Array {
    return this.facts.earlyData;
  }

  /** The ticket was refused, and this is the session of the full handshake that came beside it. */
  get fellBack(): boolean {
    return this.facts.fellBack;
  }

  /** Whether this handle has seen the session end. */
  get ended(): boolean {
    return this.facts.ended;
  }

  toJSON(): string {
    return this.toString();
  }

  toString(): string {
    return this.ended ? "noisegate session (ended)" : "noisegate session";
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
