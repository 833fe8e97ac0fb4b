/** noise-c.wasm, as far as a player needs it; index.html loads it before this page's own modules. */

export interface NoiseC {
  readonly constants: Readonly<Record<string, number>>;
  readonly HandshakeState: new (name: string, role: number) => HandshakeState;
  /** [private, public] */
  CreateKeyPair(curve: number): [Uint8Array, Uint8Array];
}

/** After an Error, and after Split, the library has freed it. */
export interface HandshakeState {
  Initialize(prologue: Uint8Array, s: Uint8Array | null, rs: Uint8Array | null): void;
  GetAction(): number;
  WriteMessage(): Uint8Array;
  ReadMessage(message: Uint8Array): null;
  GetHandshakeHash(): Uint8Array;
  GetRemotePublicKey(): Uint8Array | null;
  /** [sends, receives] */
  Split(): [CipherState, CipherState];
}

/** An Error leaves it as it was. */
export interface CipherState {
  EncryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  DecryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
  free(): void;
}

declare const noise_c_wasm: (ready: (noise: NoiseC) => void) => void;

export function load(): Promise<NoiseC> {
  return new Promise((resolve) => noise_c_wasm(resolve));
}
