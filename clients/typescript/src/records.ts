/** What became of a plaintext that was sealed, and of a packet that was opened. */

import type { Reason } from "./errors.js";
import { ControlKind, type DecryptResponse, type EncryptResponse } from "./noisegate/v1/session_crypto_service_pb.js";

/** A record for the player. */
export interface Sealed {
  /** The record. */
  packet: Uint8Array;
  /** Must go to the player besides, before it, each on its own. Empty where an `onSend` hook has them. */
  toPeer: Uint8Array[];
  /** Of the record; never used twice under one key. */
  counter: bigint;
  /** Of the record's key. */
  epoch: number;
  /** A soft limit of age or use is passed: rotate soon. */
  rotationDue: boolean;
}

/** What a packet of the player was. */
export interface Opened {
  /** The session's. */
  sessionId: Uint8Array;
  /**
   * Why the packet is to be dropped (DECRYPT_FAILED, REPLAY_DETECTED, COUNTER_TOO_OLD); empty where it opened. A forged
   * or late packet is a result and no error: the session goes on.
   */
  refused: Reason;
  /** What the player wrote, possibly empty; undefined where the packet was nothing for the game. Secret. */
  plaintext: Uint8Array | undefined;
  /** What the record was when it was nothing for the game. */
  control: ControlKind;
  /** The token of the question that a keep-alive answers. */
  answered: Uint8Array;
  /** Must go to the player, each on its own. Empty where an `onSend` hook has them. */
  toPeer: Uint8Array[];
  counter: bigint;
  epoch: number;
  /** The handshake is not yet confirmed by the player, so this may be a replay. */
  early: boolean;
  /** The newest record so far (DATAGRAM). Only then follow the player to the address that it came from. */
  newest: boolean;
  /** A soft limit of age or use is passed: rotate soon. */
  rotationDue: boolean;
}

/** Everything to send to the player, in order: `toPeer`, then the record. */
export function messages(sealed: Sealed): Uint8Array[] {
  return [...sealed.toPeer, sealed.packet];
}

export function sealedOf(answer: EncryptResponse): Sealed {
  const { ciphertext, toPeer, counter, epoch, rotationDue } = answer;
  return { packet: ciphertext, toPeer, counter, epoch, rotationDue };
}

/** A content of a later contract reads as a control record that the game may ignore. */
export function openedOf(answer: DecryptResponse): Opened {
  const { sessionId, toPeer, counter, epoch, early, newest, rotationDue, content } = answer;
  const control = content.case === "control" ? content.value : undefined;
  return {
    sessionId,
    refused: "",
    plaintext: content.case === "plaintext" ? content.value : undefined,
    control: control?.kind ?? ControlKind.UNSPECIFIED,
    answered: control?.answered ?? new Uint8Array(),
    toPeer,
    counter,
    epoch,
    early,
    newest,
    rotationDue,
  };
}

/** A packet that was refused. */
export function refusedFor(sessionId: Uint8Array, reason: Reason): Opened {
  return {
    sessionId,
    refused: reason,
    plaintext: undefined,
    control: ControlKind.UNSPECIFIED,
    answered: new Uint8Array(),
    toPeer: [],
    counter: 0n,
    epoch: 0,
    early: false,
    newest: false,
    rotationDue: false,
  };
}
