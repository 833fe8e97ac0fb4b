/** A handle of one player's session. */

import { randomUUID } from "node:crypto";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { methods, type Answered, type Calls } from "./calls.js";
import { notWhole, packetRefusal, ResumeNeeded } from "./errors.js";
import { resumed, shaken, type Facts } from "./facts.js";
import { Handle } from "./handle.js";
import type { Multiplexer } from "./multiplexer.js";
import {
  ControlKind,
  Direction,
  RotationKind,
  type IssueTicketResponse,
  type NetworkChange,
  type RotateRequestSchema,
  type RotateResponse,
  type SuspendSessionResponse,
} from "./noisegate/v1/session_crypto_service_pb.js";
import { RecordMode, type Network, type Session as Description } from "./noisegate/v1/session_pb.js";
import type { CallOptions, ConnectOptions } from "./options.js";
import { SESSION_ID_BYTES } from "./packing.js";
import { openedOf, refusedFor, sealedOf, type Opened, type Sealed } from "./records.js";
import { BOTH, Turns, type Direction as Way, type Release } from "./turns.js";

/** What all handles of a client share. */
export interface Shared {
  readonly calls: Calls;
  readonly onSend: ConnectOptions["onSend"];
  /** Undefined where calls travel alone. */
  readonly multiplexer: Multiplexer | undefined;
}

/** Of one record. */
export interface RecordOptions extends CallOptions {
  /** At most 1,024 bytes, authenticated, not sent. */
  readonly associatedData?: Uint8Array;
}

export interface DecryptOptions extends RecordOptions {
  /** The record holds a ticket for us (NOISE); the service keeps it for `initiateResume`. */
  readonly ticket?: boolean;
}

const NOTHING = new Uint8Array();

/**
 * In NOISE mode a record's counter travels with nobody: calls of one direction run one after the other, and one that
 * ends with DEADLINE_EXCEEDED, UNAVAILABLE or CANCELLED may have moved the counter all the same; then the session is
 * best closed and resumed. In DATAGRAM mode calls run side by side, and a lost answer costs one packet.
 */
export class Session extends Handle {
  readonly #shared: Shared;
  /** Undefined where all run side by side. */
  readonly #turns: Turns | undefined;

  /** @internal */
  constructor(shared: Shared, facts: Facts) {
    super(facts);
    this.#shared = shared;
    this.#turns = facts.mode === RecordMode.DATAGRAM ? undefined : new Turns();
  }

  /**
   * Hands over the player's next handshake message, in DATAGRAM mode its packet; look at `established` afterwards. The
   * payload is that of our next message; a resume has none. Answers `toPeer`.
   */
  async proceed(message: Uint8Array, options: CallOptions & { payload?: Uint8Array } = {}): Promise<Uint8Array[]> {
    await this.proceedQuietly(message, options);
    this.sendToPeer();
    return this.toPeer;
  }

  /** `proceed` without the hook. @internal */
  async proceedQuietly(message: Uint8Array, options: CallOptions & { payload?: Uint8Array } = {}): Promise<void> {
    await this.#inTurn(BOTH, options, async () => {
      const [facts, sessionId, requestId] = [this.facts, this.id, randomUUID()];
      if (facts.resuming) {
        const step = { case: "proceed", value: { sessionId, message } } as const;
        resumed(facts, await this.#ask(methods.resume, { requestId, step }, options), facts.endpoint);
      } else {
        const value = { sessionId, message, payload: options.payload ?? NOTHING };
        const step = { case: "proceed", value } as const;
        shaken(facts, await this.#ask(methods.handshake, { requestId, step }, options), facts.endpoint);
      }
    });
  }

  /**
   * Seals one plaintext for the player: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM mode. Send `messages` of
   * the answer. REKEY_REQUIRED asks for `rotate`.
   */
  async encrypt(plaintext: Uint8Array, options: RecordOptions = {}): Promise<Sealed> {
    const sealed = await this.#inTurn(["sending"], options, () => this.#encrypt(plaintext, options));
    return this.handed(sealed);
  }

  async #encrypt(plaintext: Uint8Array, options: RecordOptions): Promise<Sealed> {
    const { multiplexer } = this.#shared;
    const [sessionId, associatedData] = [this.id, options.associatedData ?? NOTHING];
    if (multiplexer !== undefined && sessionId.length === SESSION_ID_BYTES) {
      const kind = this.#turns === undefined ? "seal" : "sealInTurn";
      const item = { sessionId, body: plaintext, associatedData };
      return this.noticing(multiplexer.enter(this.endpoint, kind, item, options) as Promise<Sealed>);
    }
    const request = { sessionId, requestId: randomUUID(), plaintext, associatedData };
    return sealedOf(await this.#ask(methods.encrypt, request, options));
  }

  /**
   * Opens one record of the player: at most 65,535 bytes. What was forged, replayed or too late is a result with
   * `refused`, not an error. Send `toPeer` of the answer.
   */
  async decrypt(ciphertext: Uint8Array, options: DecryptOptions = {}): Promise<Opened> {
    return this.handed(await this.decryptQuietly(ciphertext, options));
  }

  /** `decrypt` without the hook. @internal */
  async decryptQuietly(ciphertext: Uint8Array, options: DecryptOptions = {}): Promise<Opened> {
    try {
      const opened = await this.#inTurn(["receiving"], options, () => this.#decrypt(ciphertext, options));
      this.noticeClose(opened);
      return opened;
    } catch (error) {
      const refused = packetRefusal(error);
      if (refused) {
        return refusedFor(this.id, refused);
      }
      throw error;
    }
  }

  async #decrypt(ciphertext: Uint8Array, options: DecryptOptions): Promise<Opened> {
    const { multiplexer } = this.#shared;
    const [sessionId, associatedData, ticket] = [this.id, options.associatedData ?? NOTHING, options.ticket ?? false];
    if (multiplexer !== undefined && sessionId.length === SESSION_ID_BYTES && !ticket) {
      const item = { sessionId, body: ciphertext, associatedData };
      return this.noticing(multiplexer.enter(this.endpoint, "open", item, options) as Promise<Opened>);
    }
    const request = { sessionId, requestId: randomUUID(), ciphertext, associatedData, ticket };
    return openedOf(await this.#ask(methods.decrypt, request, options));
  }

  /**
   * Changes keys (docs/protocol.md, section 4); ids of the request are filled in here. DATAGRAM: its kind is all, and
   * the rest travels in `toPeer` by itself. NOISE, REKEY: its direction names which. NOISE, RENEGOTIATE: step by step,
   * with what the player sent inside the session as its message. EPOCH_CONFLICT: another rotation came first.
   *
   * In NOISE mode `toPeer` is the game's to send, inside the session; in DATAGRAM mode it is `onSend`'s where there is
   * one.
   */
  async rotate(
    request: Omit<MessageInitShape<typeof RotateRequestSchema>, "$typeName" | "sessionId" | "requestId">,
    options: CallOptions = {},
  ): Promise<RotateResponse> {
    const rekey = request.kind === RotationKind.REKEY;
    const only: Record<number, readonly Way[]> = { [Direction.SEND]: ["sending"], [Direction.RECEIVE]: ["receiving"] };
    const ways = (rekey ? only[request.direction ?? Direction.UNSPECIFIED] : undefined) ?? BOTH;
    const answer = await this.#inTurn(ways, options, () =>
      this.#ask(methods.rotate, { ...request, sessionId: this.id, requestId: randomUUID() }, options),
    );
    return this.mode === RecordMode.DATAGRAM ? this.handed(answer) : answer;
  }

  /** Makes a single-use resumption ticket and seals it for the player: `toPeer` of the answer has it, or `onSend`. */
  async issueTicket(options: CallOptions = {}): Promise<IssueTicketResponse> {
    const answer = await this.#inTurn(["sending"], options, () =>
      this.#ask(methods.issueTicket, { sessionId: this.id, requestId: randomUUID() }, options),
    );
    return this.handed(answer);
  }

  /**
   * Derives a key for something beside the session, such as a voice channel, which the player derives too: of 16 to 255
   * bytes, for a label of 1 to 64. The service's policy must name ExportSecret for this caller.
   */
  async exportSecret(
    label: string,
    length: number,
    options: CallOptions & { context?: Uint8Array } = {},
  ): Promise<Uint8Array> {
    const request = { sessionId: this.id, label, context: options.context ?? NOTHING, length };
    return (await this.#ask(methods.exportSecret, request, options)).secret;
  }

  /**
   * Takes the session out of the service's memory, e.g. while its player is away; `Client.restore` brings it back. With
   * `returnBlob` (DATAGRAM) the answer has the sealed session and the service keeps nothing.
   */
  async suspend(options: CallOptions & { returnBlob?: boolean } = {}): Promise<SuspendSessionResponse> {
    const request = { sessionId: this.id, requestId: randomUUID(), returnBlob: options.returnBlob ?? false };
    return this.#inTurn(BOTH, options, () => this.#ask(methods.suspendSession, request, options));
  }

  /**
   * Tells that the player is on another network: WIFI gives new keys, CELLULAR a longer keep-alive, both bring a
   * suspended session back; NONE suspends.
   *
   * `toPeer` of the answer stays there and is not `onSend`'s: it begins with a question, which must go to one address
   * alone (`Receiver.routeChange`).
   */
  async changeNetwork(network: Network, options: CallOptions = {}): Promise<NetworkChange> {
    const target = { case: "sessionId", value: this.id } as const;
    const request = { requestId: randomUUID(), network, target };
    const { changes } = await this.#inTurn(BOTH, options, () => this.#ask(methods.changeNetwork, request, options));
    const [change, ...others] = changes;
    if (change === undefined || others.length > 0) {
      throw notWhole("one change for one session");
    }
    if (change.connectionId.length > 0) {
      this.facts.connectionId = change.connectionId;
    }
    return change;
  }

  /** Asks the service what it knows about the session. */
  async describe(options: CallOptions = {}): Promise<Description> {
    const { session } = await this.#ask(methods.getSession, { sessionId: this.id }, options);
    if (session === undefined) {
      throw notWhole("a session");
    }
    return session;
  }

  /**
   * Ends the session or its handshake and answers what the player should still get (DATAGRAM: a close record), where no
   * `onSend` hook has it. It is no error where the session has ended already.
   */
  async close(options: CallOptions = {}): Promise<Uint8Array[]> {
    if (this.ended) {
      return [];
    }
    this.facts.toPeer = [];
    try {
      const answer = await this.#ask(methods.closeSession, { sessionId: this.id, requestId: randomUUID() }, options);
      this.facts.toPeer = answer.toPeer;
    } catch (error) {
      if (!(error instanceof ResumeNeeded)) {
        throw error;
      }
    }
    this.facts.ended = true;
    this.sendToPeer();
    return this.toPeer;
  }

  /** Waits for the turns of a call; undefined where there are none. @internal */
  takeTurns(ways: readonly Way[], signal?: AbortSignal): Promise<Release> | undefined {
    return this.#turns?.take(ways, signal);
  }

  /** Gives the messages of the last step to the hook, where there is one. @internal */
  sendToPeer(): void {
    this.handed(this.facts);
  }

  /** Gives an answer's messages to the hook and leaves none, where there is one. @internal */
  handed<T extends { toPeer: Uint8Array[] }>(answer: T): T {
    const { onSend } = this.#shared;
    if (onSend !== undefined && answer.toPeer.length > 0) {
      const waiting = answer.toPeer;
      answer.toPeer = [];
      onSend(this, waiting);
    }
    return answer;
  }

  /** Remembers where an error says that the session has ended. @internal */
  notice(error: unknown): void {
    this.facts.ended ||= error instanceof ResumeNeeded;
  }

  /** Remembers that the player closed the session. @internal */
  noticeClose(opened: Opened): void {
    this.facts.ended ||= opened.control === ControlKind.CLOSE;
  }

  /** @internal */
  async noticing<T>(result: Promise<T>): Promise<T> {
    try {
      return await result;
    } catch (error) {
      this.notice(error);
      throw error;
    }
  }

  async #inTurn<T>(ways: readonly Way[], options: CallOptions, call: () => Promise<T>): Promise<T> {
    const release = await this.takeTurns(ways, options.signal);
    try {
      return await call();
    } finally {
      release?.();
    }
  }

  /** Runs a call where the session lives. */
  async #ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    const asked: Promise<Answered<MessageShape<O>>> = this.#shared.calls.ask(method, this.endpoint, request, options);
    const { answer, endpoint } = await this.noticing(asked);
    this.facts.endpoint = endpoint;
    return answer;
  }
}
