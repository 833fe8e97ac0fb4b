/** One player's connection. Bytes go to noisegate and come back from it; there is no key on this side, and no cipher. */

import {
  messages,
  Pattern,
  RecordMode,
  RotationKind,
  Suite,
  type Client,
  type Established,
  type Session,
} from "@noisegate/client";
import { GAME, game, hex, marked, PATTERNS, PROLOGUE, ROTATE, said, SWITCH, type Call, type Told } from "../wire.js";
import { AgainstTheRules, type Seat, type Table } from "./table.js";

/** The player speaks another protocol. The connection ends. */
export class NotOurs extends Error {}

type Message = Told extends infer Each ? (Each extends Told ? Omit<Each, "calls"> : never) : never;

export class Visit {
  readonly #client: Client;
  readonly #table: Table;
  readonly #send: (frame: Uint8Array) => void;
  #session: Session | undefined;
  #seat: Seat | undefined;
  #calls: Call[] = [];

  /** `send` gets whatever goes to the player, each on its own. */
  constructor(client: Client, table: Table, send: (frame: Uint8Array) => void) {
    this.#client = client;
    this.#table = table;
    this.#send = send;
  }

  /** The player's next frame; one after the other. Throws NotOurs and NoisegateError. */
  async take(frame: Uint8Array): Promise<void> {
    if (this.#session === undefined) {
      this.#session = await this.#begin(frame);
      this.#session.toPeer.forEach(this.#send);
    } else if (this.#session.established === undefined) {
      const toPeer = await this.#timed("Handshake", this.#session.proceed(frame));
      toPeer.forEach(this.#send);
    } else {
      await this.#record(this.#session, frame);
      return;
    }
    if (this.#session.established !== undefined) {
      await this.#welcome(this.#session.established);
    }
  }

  /** The player is gone, or has to go. */
  async end(): Promise<void> {
    await this.#session?.close();
  }

  #begin(frame: Uint8Array): Promise<Session> {
    const pattern = { [PATTERNS.XX]: Pattern.XX, [PATTERNS.IK]: Pattern.IK }[frame[0] ?? 0];
    if (pattern === undefined) {
      throw new NotOurs("no handshake that this table knows");
    }
    const respond = this.#client.respond({
      mode: RecordMode.NOISE,
      protocol: { pattern, suite: Suite.CHACHA20_POLY1305_X25519 },
      prologue: PROLOGUE,
      group: "browser dice",
      message: frame.subarray(1),
    });
    return this.#timed("Handshake", respond);
  }

  async #welcome({ remoteStaticKey, protocolName, handshakeHash }: Established): Promise<void> {
    const { seat, back } = await this.#table.seat(hex(remoteStaticKey));
    this.#seat = seat;
    await this.#tell({ t: "welcome", back, protocol: protocolName, hash: hex(handshakeHash), view: seat.view });
  }

  async #record(session: Session, frame: Uint8Array): Promise<void> {
    const opened = await this.#timed("Decrypt", session.decrypt(frame));
    if (opened.refused !== "") {
      await this.#tell({ t: "refused", reason: opened.refused, bytes: frame.length });
      return;
    }
    const [mark, content] = [opened.plaintext?.[0], opened.plaintext?.subarray(1) ?? new Uint8Array()];
    if (mark === GAME) {
      await this.#game(content);
    } else if (mark === ROTATE) {
      const kind = RotationKind.RENEGOTIATE;
      const { toPeer } = await this.#timed("Rotate", session.rotate({ kind, message: content }));
      for (const message of toPeer) {
        await this.#seal(marked(ROTATE, message));
      }
    } else if (mark === SWITCH) {
      await this.#switch(session);
    } else {
      throw new NotOurs("a plaintext without a mark");
    }
  }

  async #game(content: Uint8Array): Promise<void> {
    const seat = this.#seat!;
    try {
      await seat.play(said(content));
    } catch (error) {
      if (!(error instanceof AgainstTheRules || error instanceof SyntaxError || error instanceof TypeError)) {
        throw error;
      }
      await this.#tell({ t: "wrong", why: error.message });
      return;
    }
    await this.#tell({ t: "table", view: seat.view });
  }

  /** The player's records are under the new keys from here on; after our mark ours are, too. */
  async #switch(session: Session): Promise<void> {
    const kind = RotationKind.RENEGOTIATE;
    await this.#timed("Rotate", session.rotate({ kind, switchReceive: true }));
    await this.#seal(marked(SWITCH));
    const { epoch } = await this.#timed("Rotate", session.rotate({ kind, switchSend: true }));
    await this.#tell({ t: "rotated", epoch });
  }

  async #tell(message: Message): Promise<void> {
    const calls = this.#calls.splice(0);
    await this.#seal(game({ ...message, calls }));
  }

  async #seal(plaintext: Uint8Array): Promise<void> {
    messages(await this.#session!.encrypt(plaintext)).forEach(this.#send);
  }

  async #timed<T>(rpc: string, call: Promise<T>): Promise<T> {
    const start = performance.now();
    const answer = await call;
    this.#calls.push({ rpc, ms: Math.round((performance.now() - start) * 10) / 10 });
    return answer;
  }
}
