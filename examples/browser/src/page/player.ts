/** The player's side of a session, by an independent Noise library. Its private key is made here and is sent nowhere. */

import { joined, PROLOGUE, same, type PatternName } from "../wire.js";
import type { CipherState, HandshakeState, NoiseC } from "./noise.js";

const NOTHING = new Uint8Array();
const ROTATION = new TextEncoder().encode("ng1 renegotiate");

export class Player {
  readonly publicKey: Uint8Array;
  /** The table's, once a first handshake has shown it; from then on no other is believed. */
  tableKey: Uint8Array | null = null;
  readonly #noise: NoiseC;
  readonly #privateKey: Uint8Array;

  constructor(noise: NoiseC) {
    this.#noise = noise;
    [this.#privateKey, this.publicKey] = noise.CreateKeyPair(noise.constants["NOISE_DH_CURVE25519"]!);
  }

  /** Begins a handshake: IK with the table's key, XX without it. */
  shake(): Handshake {
    return this.#begin(this.tableKey === null ? "XX" : "IK", PROLOGUE);
  }

  /** Begins the handshake of a rotation: the session's own pattern, bound to its newest handshake. */
  rotate(channel: Channel): Handshake {
    return this.#begin(channel.pattern, joined(ROTATION, channel.hash));
  }

  #begin(pattern: PatternName, prologue: Uint8Array): Handshake {
    const { HandshakeState, constants } = this.#noise;
    const state = new HandshakeState(`Noise_${pattern}_25519_ChaChaPoly_SHA256`, constants["NOISE_ROLE_INITIATOR"]!);
    state.Initialize(prologue, this.#privateKey, pattern === "IK" ? this.tableKey : null);
    return new Handshake(this, pattern, state, constants["NOISE_ACTION_SPLIT"]!);
  }
}

/** A handshake under way, which the player has begun. */
export class Handshake {
  readonly pattern: PatternName;
  readonly #player: Player;
  readonly #state: HandshakeState;
  readonly #split: number;

  constructor(player: Player, pattern: PatternName, state: HandshakeState, split: number) {
    this.#player = player;
    this.pattern = pattern;
    this.#state = state;
    this.#split = split;
  }

  get finished(): boolean {
    return this.#state.GetAction() === this.#split;
  }

  write(): Uint8Array {
    return this.#state.WriteMessage();
  }

  /** Throws where the message is not the table's. */
  read(message: Uint8Array): void {
    this.#state.ReadMessage(message);
  }

  /** What a finished handshake gives. Throws where the table has another key than before. */
  keys(): Channel {
    const { tableKey } = this.#player;
    const shown = this.#state.GetRemotePublicKey();
    if (shown === null || (tableKey !== null && !same(tableKey, shown))) {
      throw new Error("this is another table");
    }
    this.#player.tableKey = shown;
    const hash = this.#state.GetHandshakeHash();
    const [sends, receives] = this.#state.Split();
    return new Channel(this.pattern, hash, sends, receives);
  }
}

/** A session's records, each direction under a key of its own. */
export class Channel {
  readonly pattern: PatternName;
  /** Of its newest handshake: 32 bytes, equal at both ends. */
  hash: Uint8Array;
  #sends: CipherState;
  #receives: CipherState;

  constructor(pattern: PatternName, hash: Uint8Array, sends: CipherState, receives: CipherState) {
    this.pattern = pattern;
    this.hash = hash;
    this.#sends = sends;
    this.#receives = receives;
  }

  seal(plaintext: Uint8Array): Uint8Array {
    return this.#sends.EncryptWithAd(NOTHING, plaintext);
  }

  /** Throws where the record is forged, replayed or out of order; the next good one opens all the same. */
  open(record: Uint8Array): Uint8Array {
    return this.#receives.DecryptWithAd(NOTHING, record);
  }

  /** From here on what is sealed is under the new keys. */
  switchSend(fresh: Channel): void {
    this.#sends.free();
    this.#sends = fresh.#sends;
  }

  /** From here on what is opened is under the new keys. */
  switchReceive(fresh: Channel): void {
    this.#receives.free();
    this.#receives = fresh.#receives;
    this.hash = fresh.hash;
  }
}
