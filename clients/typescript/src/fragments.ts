/** Packets larger than a path takes travel as FRAGMENTs (docs/protocol.md, section 2). */

import { HEADER_BYTES, MAX_PACKET_BYTES, peek } from "./packet.js";

/** Bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14). */
export const DEFAULT_MTU = 1_200;

const FRAGMENT_HEADER_BYTES = 13;
const FRAGMENT_FIRST_BYTE = 0x0d;
const MAX_PARTS = 255;
/** What a set costs beside its parts, rounded up. */
const SET_BYTES = 512;
/** What a part costs beside its bytes, rounded up. */
const PART_BYTES = 128;

/** A fragment that is none, or that no set can take. */
export class BadFragment extends Error {
  override readonly name = "BadFragment";
  constructor() {
    super("bad fragment");
  }
}

/** A RETRY is small, and a FRAGMENT is no packet to be cut again. */
export function mayBeCut(packet: Uint8Array): boolean {
  const type = peek(packet)?.type;
  return type !== undefined && type !== "FRAGMENT" && type !== "RETRY";
}

/**
 * The datagrams of at most `mtu` bytes that carry a packet: itself where it fits, otherwise FRAGMENTs. Give each
 * packet, and each repeat, another message id of 16 bits. Throws RangeError where the packet cannot be cut to this
 * size.
 */
export function split(packet: Uint8Array, messageId: number, mtu: number = DEFAULT_MTU): Uint8Array[] {
  if (packet.length <= mtu) {
    return [packet];
  }
  const room = mtu - FRAGMENT_HEADER_BYTES;
  const count = Math.ceil(packet.length / room);
  if (room < 1 || packet.length > MAX_PACKET_BYTES || !mayBeCut(packet) || count > MAX_PARTS) {
    throw new RangeError("not a packet that can be cut to this size");
  }
  return Array.from({ length: count }, (_, number) => {
    const header = Buffer.alloc(FRAGMENT_HEADER_BYTES, packet.subarray(0, HEADER_BYTES));
    header[0] = FRAGMENT_FIRST_BYTE;
    header.writeUInt16BE(messageId, 9);
    header[11] = number;
    header[12] = count;
    return Buffer.concat([header, packet.subarray(number * room, (number + 1) * room)]);
  });
}

/** What parts may cost while the rest of their sets is on its way. Bytes count bookkeeping too. */
export interface ReassemblyLimits {
  /** Of all sets; beyond it the oldest go. */
  readonly totalBytes: number;
  /** Of one source; beyond them its oldest go. */
  readonly setsPerSource: number;
  readonly bytesPerSource: number;
  /** From a set's first part to its last. */
  readonly lifetimeMs: number;
}

/** Bounds what strangers can make a Reassembler keep to 4 MiB, for 2 s. */
export const DEFAULT_REASSEMBLY: ReassemblyLimits = {
  totalBytes: 4 * 1024 * 1024,
  setsPerSource: 8,
  bytesPerSource: 160 * 1024,
  lifetimeMs: 2_000,
};

interface PartSet {
  readonly key: string;
  readonly source: string;
  readonly expiresAt: number;
  readonly parts: Map<number, Uint8Array>;
  size: number;
  cost: number;
}

/** What one source has here; sets of a Set are in the order of their first parts. */
interface Share {
  readonly sets: Set<PartSet>;
  cost: number;
}

/**
 * Puts the parts of large packets together, of sources that a string names. It needs no key, and nothing here is
 * authenticated: a whole packet proves itself when the service opens it.
 */
export class Reassembler {
  readonly #limits: ReassemblyLimits;
  /** By their first parts, which is by their expiry: a part does not make its set younger. */
  readonly #sets = new Map<string, PartSet>();
  readonly #sources = new Map<string, Share>();
  #cost = 0;

  constructor(limits: Partial<ReassemblyLimits> = {}) {
    this.#limits = { ...DEFAULT_REASSEMBLY, ...limits };
  }

  /** What the parts that wait cost. */
  get heldBytes(): number {
    return this.#cost;
  }

  /**
   * Takes a part that came at `now` (monotonic milliseconds) and answers the whole packet where it was the last one
   * missing. A part that has come before changes nothing. Throws BadFragment where it is malformed, or completes what
   * is no packet.
   */
  add(fragment: Uint8Array, source: string, now: number): Uint8Array | undefined {
    this.#expire(now);
    const [number, count] = [fragment[11] ?? 0, fragment[12] ?? 0];
    if (fragment.length <= FRAGMENT_HEADER_BYTES || fragment[0] !== FRAGMENT_FIRST_BYTE || number >= count) {
      throw new BadFragment();
    }
    // Parts that differ in connection id, message id or count are of different sets.
    const name = Buffer.concat([fragment.subarray(1, 11), fragment.subarray(12, 13)]).toString("hex");
    const set = this.#sets.get(name + source) ?? this.#begin(name + source, source, now);
    if (set.parts.has(number)) {
      return undefined;
    }
    const part = Uint8Array.from(fragment.subarray(FRAGMENT_HEADER_BYTES));
    set.parts.set(number, part);
    set.size += part.length;
    this.#pay(set, part.length + PART_BYTES);
    if (set.size > MAX_PACKET_BYTES) {
      this.#drop(set);
      throw new BadFragment();
    }
    if (set.parts.size < count) {
      this.#makeRoom(source);
      return undefined;
    }
    this.#drop(set);
    const whole = Buffer.concat(Array.from({ length: count }, (_, n) => set.parts.get(n)!));
    if (!mayBeCut(whole) || peek(whole)?.connectionId !== name.slice(0, 16)) {
      throw new BadFragment();
    }
    return whole;
  }

  #expire(now: number): void {
    for (const set of this.#sets.values()) {
      if (set.expiresAt > now) {
        return;
      }
      this.#drop(set);
    }
  }

  #begin(key: string, source: string, now: number): PartSet {
    const set = { key, source, expiresAt: now + this.#limits.lifetimeMs, parts: new Map(), size: 0, cost: 0 };
    const share = this.#sources.get(source) ?? { sets: new Set(), cost: 0 };
    this.#sources.set(source, share);
    share.sets.add(set);
    this.#sets.set(key, set);
    this.#pay(set, SET_BYTES);
    return set;
  }

  #pay(set: PartSet, cost: number): void {
    set.cost += cost;
    this.#sources.get(set.source)!.cost += cost;
    this.#cost += cost;
  }

  #makeRoom(source: string): void {
    const share = this.#sources.get(source)!;
    for (const oldest of share.sets) {
      if (share.sets.size <= this.#limits.setsPerSource && share.cost <= this.#limits.bytesPerSource) {
        break;
      }
      this.#drop(oldest);
    }
    for (const oldest of this.#sets.values()) {
      if (this.#cost <= this.#limits.totalBytes) {
        break;
      }
      this.#drop(oldest);
    }
  }

  #drop(set: PartSet): void {
    const share = this.#sources.get(set.source)!;
    this.#sets.delete(set.key);
    share.sets.delete(set);
    share.cost -= set.cost;
    this.#cost -= set.cost;
    if (share.sets.size === 0) {
      this.#sources.delete(set.source);
    }
  }
}
