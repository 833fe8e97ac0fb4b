/** A UDP game's receive path. */

import type { Client } from "./client.js";
import { NoisegateError, ResumeNeeded, RetryNeeded } from "./errors.js";
import { BadFragment, DEFAULT_MTU, mayBeCut, Reassembler, split, type ReassemblyLimits } from "./fragments.js";
import { ControlKind, type NetworkChange } from "./noisegate/v1/session_crypto_service_pb.js";
import { RecordMode } from "./noisegate/v1/session_pb.js";
import type { CallOptions } from "./options.js";
import { MAX_PACKET_BYTES, peek, stepOf, type PacketType } from "./packet.js";
import { Path } from "./paths.js";
import { PLAYERS_FAULT, received, type Admission, type Datagram, type Received } from "./received.js";
import type { Opened } from "./records.js";
import type { Session } from "./session.js";
import { SessionTable, type Tracked } from "./table.js";

const FIRST_STEP = 1;
/** What every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet. */
const LEAST_MTU = 576;
const UNCONFIRMED_FOR_MS = 60_000;

export interface ReceiverOptions {
  /** Asked before a player begins or resumes a session; undefined refuses it. Without it anyone may, unnamed. */
  readonly admit?: (packet: Uint8Array, source: string) => Admission | undefined;
  /** Handles kept, and half-open ones besides; a forgotten one is found again by the service. 65,536 by default. */
  readonly maxSessions?: number;
  /** Bytes of a datagram that the players' paths take, at least 576; larger packets go out as fragments. */
  readonly mtu?: number;
  /** What the fragments of players may cost. */
  readonly reassembly?: Partial<ReassemblyLimits>;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** One packet on its way through. */
interface Arrival {
  readonly packet: Uint8Array;
  readonly source: string;
  readonly type: PacketType;
  readonly connectionId: string;
  readonly known: Tracked | undefined;
}

/**
 * Hand it every packet of every player, with the address that it came from, and send what it gives back. It holds no
 * key.
 *
 * It picks the RPC by the packet's first bytes, keeps the handle of every session by connection id, and decides where a
 * session's bytes go: it follows a player to a new address only after a record from there opened and was the newest so
 * far, and sends to an address that has proved nothing at most three times what came from it. What does not fit is
 * dropped, not queued. So after `moved` send one small challenge there, repeat it now and then, and nothing of an
 * ordered stream, until the player has echoed it: then call `markVerified`. The client's `onSend` hook is not called
 * for what a Receiver sends.
 *
 * Addresses are strings of the game's choice, e.g. "HOST:PORT". Packets may be received side by side.
 */
export class Receiver {
  readonly #client: Client;
  readonly #admit: (packet: Uint8Array, source: string) => Admission | undefined;
  readonly #mtu: number;
  readonly #now: () => number;
  readonly #sessions: SessionTable;
  readonly #parts: Reassembler;
  #messageId = Math.trunc(Math.random() * 65_536);

  /** Throws RangeError. */
  constructor(client: Client, options: ReceiverOptions = {}) {
    const { admit = () => ({}), maxSessions = 65_536, mtu = DEFAULT_MTU, now = () => performance.now() } = options;
    if (mtu < LEAST_MTU || maxSessions < 1) {
      throw new RangeError(`mtu at least ${LEAST_MTU}, maxSessions at least 1`);
    }
    this.#client = client;
    this.#admit = admit;
    this.#mtu = mtu;
    this.#now = now;
    this.#sessions = new SessionTable(maxSessions);
    this.#parts = new Reassembler(options.reassembly);
  }

  /**
   * Handles one packet of a player. What a forger or a bad network makes is a result with `refused`; it throws for a
   * trouble of the service's or the caller's own.
   */
  async receive(packet: Uint8Array, source: string, options: CallOptions = {}): Promise<Received> {
    let arrival: Arrival | undefined;
    try {
      arrival = this.#arrived(packet, source);
    } catch (error) {
      if (!(error instanceof BadFragment)) {
        throw error;
      }
      return received({ refused: "NOT_A_PACKET" });
    }
    if (arrival === undefined) {
      return received({ refused: "NOT_A_PACKET" });
    }
    if (arrival.type === "FRAGMENT") {
      return received({ session: arrival.known?.session }); // others are on their way
    }
    try {
      return await this.#packet(arrival, options);
    } catch (error) {
      if (error instanceof RetryNeeded) {
        const path = new Path(source, arrival.packet.length, false);
        return received({ ...this.#allowed(path, error.toPeer), refused: `RETRY_${error.why}` });
      }
      if (error instanceof NoisegateError && PLAYERS_FAULT.has(error.reason)) {
        return this.#refusal(error, arrival.known);
      }
      throw error;
    }
  }

  /**
   * Takes up a session that began elsewhere, e.g. by `initiate`. Its first `toPeer` is the game's to send, by way of
   * `cut`. `verified`: the game knows that the address wants to be sent to.
   */
  add(session: Session, address: string, verified = false): void {
    const path = new Path(address, 0, true);
    path.verified = verified;
    this.#sessions.sent(this.#sessions.add(session, path, this.#expiry(session)), session.toPeer);
  }

  /** The datagrams of messages that the game sends wherever it wants: each no larger than the MTU. */
  cut(messages: readonly Uint8Array[]): Uint8Array[] {
    return messages.flatMap((message) => this.#datagrams(message));
  }

  /**
   * Where the game's own messages (`messages(sealed)`, `toPeer`) go now. It leaves out what an address may not get yet,
   * and gives nothing for a session that this receiver does not know. What is larger than the MTU goes as fragments and
   * is lost with any of them: keep records below it, which are 32 bytes longer than their plaintexts.
   */
  route(session: Session, messages: readonly Uint8Array[]): Datagram[] {
    const known = this.#sessions.get(session);
    return known === undefined ? [] : this.#allowed(known.path, messages).toSend;
  }

  /**
   * `route` for what a change of network brings about: send it nowhere else. It begins with a question; once the player
   * has answered that from there, the address is verified.
   */
  routeChange(session: Session, change: NetworkChange): Datagram[] {
    this.#sessions.get(session)?.path.ask(change.token);
    return this.route(session, change.toPeer);
  }

  /** Where the session's player is, as far as its records have shown, and whether it gets what is sent there. */
  address(session: Session): { address: string; verified: boolean } | undefined {
    const path = this.#sessions.get(session)?.path;
    return path && { address: path.address, verified: path.verified };
  }

  /**
   * Lifts the limit of an address after a proof of the game's own: a random value, sealed, sent there and echoed in a
   * record. Nothing happens if the player has moved on from it.
   */
  markVerified(session: Session, address: string): void {
    const path = this.#sessions.get(session)?.path;
    if (path?.address === address) {
      path.verified = true;
    }
  }

  /** Drops the handle, e.g. after `close`. The service still knows the session if it lives. */
  forget(session: Session): void {
    this.#sessions.remove(session);
  }

  /** Notes where a packet came from and puts fragments together; still a FRAGMENT where parts are missing. */
  #arrived(packet: Uint8Array, source: string): Arrival | undefined {
    const peeked = packet.length > MAX_PACKET_BYTES ? undefined : peek(packet);
    if (peeked === undefined) {
      return undefined;
    }
    const now = this.#now();
    this.#sessions.expire(now);
    const known = this.#sessions.find(peeked.connectionId);
    known?.path.cameFrom(source, packet.length);
    if (peeked.type === "FRAGMENT") {
      const whole = this.#parts.add(packet, source, now);
      const inside = whole && peek(whole);
      if (inside !== undefined) {
        return { packet: whole!, source, ...inside, known };
      }
    }
    return { packet, source, ...peeked, known };
  }

  async #packet(arrival: Arrival, options: CallOptions): Promise<Received> {
    const { packet, type, known } = arrival;
    if (type === "RECORD" || type === "SALTED") {
      return this.#record(arrival, options);
    }
    if (type === "RETRY") {
      const begun = this.#sessions.thatSent(packet);
      return begun === undefined ? unexpected(known) : this.#retry(arrival, begun, options);
    }
    return stepOf(packet) === FIRST_STEP ? this.#firstStep(arrival, options) : this.#laterStep(arrival, options);
  }

  async #record({ packet, source, connectionId, known }: Arrival, options: CallOptions): Promise<Received> {
    let [session, opened]: [Session | undefined, Opened | undefined] = [known?.session, undefined];
    if (session !== undefined) {
      opened = await session.decryptQuietly(packet, options);
    } else {
      [session, opened] = await this.#client.findAndDecrypt(packet, options);
      session.noticeClose(opened);
    }
    if (opened.refused) {
      return received({ session: known?.session, refused: opened.refused });
    }
    let newSession = false;
    if (known === undefined) {
      // The session may have another connection id here, or another packet of it came in meanwhile.
      known = this.#sessions.get(session);
      newSession = known === undefined;
      known?.path.cameFrom(source, packet.length);
      known ??= this.#sessions.add(session, new Path(source, packet.length, false), undefined);
      this.#sessions.alias(known, connectionId);
    }
    this.#sessions.settle(known);
    const moved = known.path.opened(source, packet.length, opened);
    known.path.answered(source, opened.answered);
    const sending = this.#allowed(known.path, opened.toPeer);
    const closed = opened.control === ControlKind.CLOSE;
    if (closed) {
      this.#sessions.remove(known.session);
    }
    opened.toPeer = [];
    return received({ session: known.session, opened, ...sending, newSession, closed, moved });
  }

  async #firstStep({ packet, source, type }: Arrival, options: CallOptions): Promise<Received> {
    const admission = this.#admit(packet, source);
    if (admission === undefined) {
      return received({ refused: "NOT_ADMITTED" });
    }
    const mode = RecordMode.DATAGRAM;
    const { acceptEarlyData = false, peerId = "", group = "", ...rest } = admission;
    const step = { ...rest, mode, message: packet, peerId, group };
    const session =
      type === "RESUME"
        ? await this.#client.resume({ case: "respond", value: { ...step, acceptEarlyData } }, { mode }, options)
        : await this.#client.shake({ case: "respond", value: step }, { mode, peerId, group }, options);
    let known = this.#sessions.get(session);
    const newSession = known === undefined;
    // A repeat: the service gave its answer again, and this handle is a second one of the same session.
    known?.path.cameFrom(source, packet.length);
    // Half-open until the player has answered, even where the pattern is done: a first packet may be a replay.
    const expiresAt = this.#now() + (session.pendingForMs || UNCONFIRMED_FOR_MS);
    known ??= this.#sessions.add(session, new Path(source, packet.length, true), expiresAt);
    return received({
      ...this.#stepped(known, session, source, packet.length),
      newSession,
      established: newSession && session.established !== undefined,
      // Of several copies of a packet one alone has it, and not always the first to come back.
      earlyData: session.earlyData,
    });
  }

  async #laterStep({ packet, source, type, known }: Arrival, options: CallOptions): Promise<Received> {
    let [established, newSession] = [false, false];
    if (known !== undefined) {
      const before = known.session.established !== undefined;
      await known.session.proceedQuietly(packet, options);
      established = !before && known.session.established !== undefined;
    } else {
      const step = { case: "proceed", value: { message: packet } } as const;
      const begun = { mode: RecordMode.DATAGRAM };
      const session = await this.#client[type === "RESUME" ? "resume" : "shake"](step, begun, options);
      known = this.#sessions.get(session);
      if (known === undefined) {
        [newSession, established] = [true, session.established !== undefined];
        known = this.#sessions.add(session, new Path(source, packet.length, false), this.#expiry(session));
      }
    }
    if (established) {
      this.#sessions.settle(known);
      known.path.finished(source);
    }
    return received({ ...this.#stepped(known, known.session, source, packet.length), newSession, established });
  }

  /** The player refuses the first packet of a session that the game began. */
  async #retry({ packet, source }: Arrival, begun: Tracked, options: CallOptions): Promise<Received> {
    begun.path.cameFrom(source, packet.length);
    await begun.session.proceedQuietly(packet, options);
    // Its echo is made of our packet, which went to one address alone.
    begun.path.finished(source);
    this.#sessions.sent(begun, begun.session.toPeer);
    return received(this.#stepped(begun, begun.session, source, packet.length));
  }

  #stepped({ path, session }: Tracked, step: Session, source: string, size: number) {
    if (source !== path.address && step.toPeer.length > 0) {
      // A handshake packet proves no address: its sender gets the answer, within what this packet paid for.
      path.answeredElsewhere();
      path = new Path(source, size, false);
    }
    return { session, payload: step.payload, ...this.#allowed(path, step.toPeer) };
  }

  #refusal(error: NoisegateError, known: Tracked | undefined): Received {
    const closed = known !== undefined && error instanceof ResumeNeeded;
    if (closed) {
      this.#sessions.remove(known.session);
    }
    return received({ session: known?.session, closed, refused: error.reason });
  }

  #expiry(session: Session): number | undefined {
    return session.established === undefined ? this.#now() + session.pendingForMs : undefined;
  }

  /** The datagrams for the path's address, and how many messages it may not get: one goes whole or not at all. */
  #allowed(path: Path, messages: readonly Uint8Array[]): { toSend: Datagram[]; withheld: number } {
    const toSend: Datagram[] = [];
    let withheld = 0;
    for (const message of messages) {
      const datagrams = this.#datagrams(message);
      if (path.maySend(datagrams.reduce((size, datagram) => size + datagram.length, 0))) {
        toSend.push(...datagrams.map((bytes) => ({ bytes, address: path.address })));
      } else {
        withheld += 1;
      }
    }
    return { toSend, withheld };
  }

  #datagrams(message: Uint8Array): Uint8Array[] {
    if (message.length <= this.#mtu || !mayBeCut(message)) {
      return [message];
    }
    this.#messageId = (this.#messageId + 1) % 65_536;
    return split(message, this.#messageId, this.#mtu);
  }
}

function unexpected(known: Tracked | undefined): Received {
  return received({ session: known?.session, refused: "UNEXPECTED_PACKET" });
}
