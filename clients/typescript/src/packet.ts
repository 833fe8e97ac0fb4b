/** What a player's packet (DATAGRAM) shows without a key. */

import { createHash } from "node:crypto";

/** The types of docs/protocol.md, section 2. */
export type PacketType = "HANDSHAKE" | "RECORD" | "SALTED" | "RESUME" | "FRAGMENT" | "RETRY";

const TYPES: readonly (PacketType | undefined)[] = [
  undefined,
  "HANDSHAKE",
  "RECORD",
  "SALTED",
  "RESUME",
  "FRAGMENT",
  "RETRY",
  undefined,
];

export const HEADER_BYTES = 9;
export const MAX_PACKET_BYTES = 65_535;
const ECHO_BYTES = 8;
const NEW = "0".repeat(16);

export interface Peeked {
  readonly type: PacketType;
  /**
   * Of the connection, 16 hexadecimal digits; zeros in a player's first packet. It finds a session and proves nothing.
   */
  readonly connectionId: string;
}

/**
 * Reads the type and the connection id of a player's packet; undefined for bytes that are not one of noisegate's. It
 * needs no key and no service, and nothing of what it reads is authenticated.
 *
 * First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so one port can serve all.
 */
export function peek(packet: Uint8Array): Peeked | undefined {
  const first = packet[0];
  if (first === undefined || packet.length < HEADER_BYTES || (first & 0xf8) !== 0x08) {
    return undefined;
  }
  const type = TYPES[first & 0x07];
  return type === undefined ? undefined : { type, connectionId: hex(packet.subarray(1, HEADER_BYTES)) };
}

/** Whether it is that of a session, not of a player's first packet. */
export function isConnectionId(id: string): boolean {
  return id.length === NEW.length && id !== NEW;
}

/** The step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one. */
export function stepOf(packet: Uint8Array): number {
  return packet[HEADER_BYTES] ?? 0;
}

/** What a RETRY carries of the packet that it refuses. It is no secret and protects none. */
export function echoOf(packet: Uint8Array): string {
  return createHash("sha256")
    .update(packet)
    .digest("hex")
    .slice(0, 2 * ECHO_BYTES);
}

/** Reads it; undefined where the packet is too short. */
export function echoIn(packet: Uint8Array): string | undefined {
  const echo = packet.subarray(HEADER_BYTES, HEADER_BYTES + ECHO_BYTES);
  return echo.length === ECHO_BYTES ? hex(echo) : undefined;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
