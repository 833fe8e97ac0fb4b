/** What a Receiver makes of a player's packet. */

import type { Reason } from "./errors.js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SessionOptionsSchema } from "./noisegate/v1/session_pb.js";
import type { Opened } from "./records.js";
import type { Session } from "./session.js";

/** How the game receives a player who begins a session. A resumed session has its ticket's names and options. */
export interface Admission {
  /** The player, and the match, room or table: at most 64 bytes each. */
  readonly peerId?: string;
  readonly group?: string;
  /** The same at both ends: at most 1,024 bytes. */
  readonly prologue?: Uint8Array;
  /** Of message 2: at most 16,384 bytes, in practice a third of what the player sent. */
  readonly payload?: Uint8Array;
  /** For psk patterns: 32 bytes. Secret. */
  readonly psk?: Uint8Array;
  readonly options?: MessageInitShape<typeof SessionOptionsSchema>;
  /** Takes the early data of a player who resumes, where it can come for the first time alone. */
  readonly acceptEarlyData?: boolean;
}

/** Goes to an address. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly address: string;
}

/** What one packet of a player was. */
export interface Received {
  /** Of the packet; undefined where it has none. */
  session: Session | undefined;
  /** What the record was; undefined where the packet was no record, or was refused. */
  opened: Opened | undefined;
  /** What the player wrote for the game; undefined where the packet had nothing for it. Secret. */
  plaintext: Uint8Array | undefined;
  /** Of a handshake message; possibly replayed until a first record has opened. */
  payload: Uint8Array;
  /** What a resuming player sent along. Until a first record opens, whoever has its ticket's key may have sent it. */
  earlyData: Uint8Array;
  /** Each of these in this order, each as one datagram. */
  toSend: Datagram[];
  /** This packet began the session, as far as this receiver knows. */
  newSession: boolean;
  /** With this packet the handshake finished, records may flow. */
  established: boolean;
  /** The session has ended, and the receiver has forgotten it. */
  closed: boolean;
  /** The player is followed to the address that this packet came from. */
  moved: boolean;
  /** How many messages were not sent, because their address has not proved that it wants them. */
  withheld: number;
  /**
   * Why the packet was dropped; empty where it was not. Besides the service's reasons: NOT_A_PACKET, NOT_ADMITTED,
   * UNEXPECTED_PACKET; RETRY_CHOOSE and RETRY_CLOCK where the player has to begin anew, and `toSend` tells it how.
   */
  refused: Reason;
}

const NOTHING = new Uint8Array();

export function received(what: Partial<Received>): Received {
  return {
    session: undefined,
    opened: undefined,
    plaintext: what.opened?.plaintext,
    payload: NOTHING,
    earlyData: NOTHING,
    toSend: [],
    newSession: false,
    established: false,
    closed: false,
    moved: false,
    withheld: 0,
    refused: "",
    ...what,
  };
}

/** The reasons that a player's packet can bring about; others are the service's and the caller's troubles. */
export const PLAYERS_FAULT: ReadonlySet<string> = new Set([
  "CLOCK_SKEW",
  "COUNTER_TOO_OLD",
  "DECRYPT_FAILED",
  "HANDSHAKE_FAILED",
  "HANDSHAKE_STATE",
  "INVALID_REQUEST",
  "MESSAGE_TOO_LARGE",
  "NOT_ESTABLISHED",
  "PEER_REVOKED",
  "POLICY_REJECTED",
  "REPLAY_DETECTED",
  "SESSION_CLOSED",
  "SESSION_NOT_FOUND",
  "SESSION_QUOTA",
  "STALE_HANDSHAKE",
  "TICKET_REJECTED",
  "UNSUPPORTED_PROTOCOL",
]);
