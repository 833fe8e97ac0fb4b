// One end of a Noise handshake and its transport messages by noise-c.wasm, rweather's noise-c in WebAssembly, driven over
// standard input and output by the lines of tests/interop/flynn/main.go. It knows the patterns of Noise without a PSK.
//
// Its version is pinned by examples/browser, whose page plays with it.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../../examples/browser/package.json", import.meta.url));
const wasmBinary = readFileSync(require.resolve("noise-c.wasm/src/noise-c.wasm"));
const noise = await new Promise((resolve) => require("noise-c.wasm")({ wasmBinary }, resolve));
const { constants } = noise;

const NOTHING = new Uint8Array();

const bytes = (word) => (word === "-" ? NOTHING : Uint8Array.from(Buffer.from(word, "hex")));
const given = (word) => (word === "-" ? null : bytes(word));

/** This end. After the last handshake message `ciphers` are [sends, receives], and the library has freed the handshake. */
let peer = {};

const commands = {
  open(name, role, prologue, key, remote) {
    const initiates = role === "initiator";
    const side = initiates ? constants.NOISE_ROLE_INITIATOR : constants.NOISE_ROLE_RESPONDER;
    const handshake = new noise.HandshakeState(name, side);
    handshake.Initialize(bytes(prologue), given(key), given(remote));
    peer = { handshake };
  },
  write: (payload) => peer.handshake.WriteMessage(bytes(payload)),
  read: (message) => peer.handshake.ReadMessage(bytes(message), true),
  hash: () => peer.handshake.GetHandshakeHash(),
  split() {
    peer = { ciphers: peer.handshake.Split() };
  },
  seal: (payload) => peer.ciphers[0].EncryptWithAd(NOTHING, bytes(payload)),
  unseal: (message) => peer.ciphers[1].DecryptWithAd(NOTHING, bytes(message)),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(" ");
  try {
    const answer = commands[command](...words) ?? NOTHING;
    console.log(`ok ${Buffer.from(answer).toString("hex") || "-"}`);
  } catch (error) {
    console.log(`error ${error?.message ?? error}`);
  }
}
