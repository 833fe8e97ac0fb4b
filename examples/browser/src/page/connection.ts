/** The player at the table: one WebSocket, the session over it, and everything that is shown of both. */

import {
  GAME,
  game,
  hex,
  joined,
  marked,
  PATTERNS,
  REFUSED,
  ROTATE,
  SWITCH,
  type Call,
  type Said,
  type Told,
} from "../wire.js";
import type { Channel, Handshake, Player } from "./player.js";

export type Kind = "handshake" | "record" | "rotation" | "attack" | "note";

/** One line of the log. */
export interface Row {
  kind: Kind;
  /** Up goes to the table. Empty: nothing travelled. */
  way: "up" | "down" | "";
  text: string;
  bytes?: Uint8Array;
  calls?: readonly Call[];
}

/** Who looks on. */
export interface Watcher {
  row(row: Row): void;
  /** The session's state has changed. */
  changed(): void;
  told(told: Told): void;
}

/** What each message of a handshake carries, in Noise's own words. */
const TOKENS = { XX: ["e", "e, ee, s, es", "s, se"], IK: ["e, es, s, ss", "e, ee, se"] } as const;
const BACK_AFTER_MS = 900;

export class Connection {
  state: "away" | "shaking" | "playing" | "rotating" | "refused" = "away";
  channel: Channel | undefined;
  /** The table has the same handshake hash. */
  verified = false;
  protocol = "";
  epoch = 0;
  sessions = 0;
  sealed = 0;
  opened = 0;
  refused = 0;
  readonly #player: Player;
  readonly #watcher: Watcher;
  #socket: WebSocket | undefined;
  #handshake: Handshake | undefined;
  #step = 0;
  #fresh: Channel | undefined;
  #lastSent = new Uint8Array();
  #lastReceived = new Uint8Array();

  constructor(player: Player, watcher: Watcher) {
    this.#player = player;
    this.#watcher = watcher;
  }

  /** A new session: a full handshake the first time, a shorter one when the table's key is known. */
  open(): void {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws"));
    socket.binaryType = "arraybuffer";
    const handshake = this.#player.shake();
    Object.assign(this, { state: "shaking", channel: undefined, verified: false, protocol: "", epoch: 0 });
    [this.#socket, this.#handshake, this.#fresh, this.#step] = [socket, handshake, undefined, 0];
    socket.onopen = () => {
      const message = this.#written(handshake, "handshake");
      this.#send(joined(Uint8Array.of(PATTERNS[handshake.pattern]), message));
    };
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      if (this.state !== "refused") {
        this.#receive(new Uint8Array(data));
      }
    };
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#watcher.changed();
  }

  say(message: Said, text: string): void {
    this.#seal(game(message), "record", text);
  }

  /** New keys by a new handshake inside the session; the library has no Rekey. */
  rotate(): void {
    const handshake = this.#player.rotate(this.channel!);
    Object.assign(this, { state: "rotating" });
    [this.#handshake, this.#step] = [handshake, 0];
    this.#seal(marked(ROTATE, handshake.write()), "rotation", this.#tokens(handshake));
    this.#watcher.changed();
  }

  /** The connection breaks, and with it the session. */
  cut(): void {
    this.#socket?.close();
  }

  /** What an attacker on the path would do, in both directions: the last record with one bit turned. */
  forge(): void {
    const up = turned(this.#lastSent);
    this.#watcher.row({ kind: "attack", way: "up", text: "An attacker turns one bit of your last record", bytes: up });
    this.#socket?.send(up);
    const down = turned(this.#lastReceived);
    this.#watcher.row({ kind: "attack", way: "down", text: "and one bit of the table's", bytes: down });
    this.#receive(down);
  }

  /** As `forge`, with the last record as it was. */
  replay(): void {
    const bytes = this.#lastSent;
    this.#watcher.row({ kind: "attack", way: "up", text: "An attacker sends your last record once more", bytes });
    this.#socket?.send(bytes);
  }

  #receive(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.channel === undefined) {
      this.#shake(this.#handshake!, bytes);
      return;
    }
    let plaintext: Uint8Array;
    try {
      plaintext = this.channel.open(bytes);
    } catch (error) {
      this.refused += 1;
      const why = error instanceof Error ? error.message : String(error);
      this.#watcher.row({ kind: "attack", way: "", text: `Your browser refused it: ${why}` });
      this.#watcher.changed();
      return;
    }
    this.#lastReceived = bytes;
    this.opened += 1;
    this.#take(plaintext[0], plaintext.subarray(1), bytes);
    this.#watcher.changed();
  }

  #shake(handshake: Handshake, bytes: Uint8Array<ArrayBuffer>): void {
    this.#lastReceived = bytes;
    try {
      handshake.read(bytes);
      this.#watcher.row({ kind: "handshake", way: "down", text: this.#tokens(handshake), bytes });
      if (!handshake.finished) {
        this.#send(this.#written(handshake, "handshake"));
      }
      this.channel = handshake.keys();
    } catch (error) {
      this.#stop(`The handshake failed: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    [this.state, this.sessions] = ["playing", this.sessions + 1];
    this.#watcher.changed();
  }

  #take(mark: number | undefined, content: Uint8Array, bytes: Uint8Array): void {
    if (mark === ROTATE) {
      const handshake = this.#handshake!;
      handshake.read(content);
      this.#watcher.row({ kind: "rotation", way: "down", text: this.#tokens(handshake), bytes });
      if (!handshake.finished) {
        this.#seal(marked(ROTATE, handshake.write()), "rotation", this.#tokens(handshake));
      }
      this.#fresh = handshake.keys();
      this.#seal(marked(SWITCH), "rotation", "My next record is under the new key");
      this.channel!.switchSend(this.#fresh);
    } else if (mark === SWITCH) {
      this.#watcher.row({ kind: "rotation", way: "down", text: "So is the table's", bytes });
      this.channel!.switchReceive(this.#fresh!);
      [this.state, this.verified] = ["playing", false];
    } else if (mark === GAME) {
      this.#told(JSON.parse(new TextDecoder().decode(content)) as Told, bytes);
    }
  }

  #told(told: Told, bytes: Uint8Array): void {
    const { calls } = told;
    if (told.t === "welcome") {
      this.verified = told.hash === hex(this.channel!.hash);
      this.protocol = told.protocol;
    } else if (told.t === "rotated") {
      // It has opened under keys that only an equal handshake gives.
      [this.epoch, this.verified] = [told.epoch, true];
    } else if (told.t === "refused") {
      this.refused += 1;
    }
    this.#watcher.row({ kind: KINDS[told.t], way: "down", text: textOf(told, this.verified), bytes, calls });
    this.#watcher.told(told);
  }

  #closed(code: number, reason: string): void {
    if (this.state === "refused") {
      return;
    }
    if (code === REFUSED) {
      this.#stop(`The table refused you: ${reason}`);
      return;
    }
    // Otherwise nobody has answered yet, and that was said before.
    if (this.channel !== undefined) {
      const text = "The connection is cut, and its keys are gone. The seat stays yours.";
      this.#watcher.row({ kind: "note", way: "", text });
    }
    this.state = "away";
    this.#watcher.changed();
    setTimeout(() => this.open(), BACK_AFTER_MS);
  }

  /** For good: whoever answers is not whom this player met. */
  #stop(text: string): void {
    this.state = "refused";
    this.#watcher.row({ kind: "attack", way: "", text });
    this.#watcher.changed();
    this.#socket?.close();
  }

  #written(handshake: Handshake, kind: Kind): Uint8Array {
    const bytes = handshake.write();
    this.#watcher.row({ kind, way: "up", text: this.#tokens(handshake), bytes });
    return bytes;
  }

  /** Says which message of its pattern the next one is. */
  #tokens({ pattern }: Handshake): string {
    const tokens = TOKENS[pattern][this.#step] ?? "";
    this.#step += 1;
    return `${pattern} message ${this.#step}: ${tokens}`;
  }

  #seal(plaintext: Uint8Array, kind: Kind, text: string): void {
    const bytes = this.channel!.seal(plaintext);
    this.sealed += 1;
    this.#watcher.row({ kind, way: "up", text, bytes });
    this.#send(bytes);
  }

  #send(bytes: Uint8Array): void {
    this.#lastSent = new Uint8Array(bytes);
    this.#socket?.send(this.#lastSent);
  }
}

const KINDS: Readonly<Record<Told["t"], Kind>> = {
  welcome: "record",
  table: "record",
  rotated: "rotation",
  refused: "attack",
  wrong: "note",
};

function textOf(told: Told, verified: boolean): string {
  switch (told.t) {
    case "welcome":
      return `${told.back ? "Welcome back to your seat" : "Welcome"}; ${verified ? "same" : "ANOTHER"} handshake hash`;
    case "table":
      return `The dice: ${told.view.dice?.join(" and ") ?? "none"}`;
    case "rotated":
      return `Fresh keys, epoch ${told.epoch}`;
    case "refused":
      return `noisegate refused ${told.bytes} bytes: ${told.reason}`;
    case "wrong":
      return told.why;
  }
}

function turned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
}
