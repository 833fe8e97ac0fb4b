/** What a handle knows of its session without asking. */

import type { Duration } from "@bufbuild/protobuf/wkt";
import { EarlyData, type HandshakeResponse, type ResumeResponse } from "./noisegate/v1/session_crypto_service_pb.js";
import { RecordMode, type Established, type Session as Description } from "./noisegate/v1/session_pb.js";

export interface Facts {
  id: Uint8Array;
  /** HOST:PORT where the session lives; empty for the client's own target. */
  endpoint: string;
  mode: RecordMode;
  /** Its steps are Resume's. */
  resuming: boolean;
  connectionId: Uint8Array;
  peerId: string;
  group: string;
  established: Established | undefined;
  pendingForMs: number;
  toPeer: Uint8Array[];
  payload: Uint8Array;
  hello: Uint8Array;
  ticket: Uint8Array;
  early: EarlyData;
  earlyData: Uint8Array;
  fellBack: boolean;
  ended: boolean;
}

const NOTHING = new Uint8Array();

export function factsOf(known: Partial<Facts>): Facts {
  return {
    id: NOTHING,
    endpoint: "",
    mode: RecordMode.UNSPECIFIED,
    resuming: false,
    connectionId: NOTHING,
    peerId: "",
    group: "",
    established: undefined,
    pendingForMs: 0,
    toPeer: [],
    payload: NOTHING,
    hello: NOTHING,
    ticket: NOTHING,
    early: EarlyData.UNSPECIFIED,
    earlyData: NOTHING,
    fellBack: false,
    ended: false,
    ...known,
  };
}

export function described(session: Description): Facts {
  const { sessionId, endpoint, mode, connectionId, peerId, group, established } = session;
  return factsOf({ id: sessionId, endpoint, mode, connectionId, peerId, group, established });
}

/** Remembers what a step of a handshake gave, and from where. */
export function shaken(facts: Facts, step: HandshakeResponse, from: string): void {
  stepped(facts, step, from);
  facts.hello = orBefore(step.hello, facts.hello);
}

/** Remembers what a step of a resume gave, and from where. */
export function resumed(facts: Facts, step: ResumeResponse, from: string): void {
  stepped(facts, step, from);
  facts.ticket = orBefore(step.ticket, facts.ticket);
  facts.early = step.early;
  facts.earlyData = step.earlyData;
  if (step.fellBack) {
    // What is under way is a full handshake, and its steps are Handshake's.
    facts.fellBack = true;
    facts.resuming = false;
  }
  facts.peerId = step.peerId || facts.peerId;
  facts.group = step.group || facts.group;
}

function stepped(facts: Facts, step: HandshakeResponse | ResumeResponse, from: string): void {
  facts.id = orBefore(step.sessionId, facts.id);
  facts.endpoint = step.endpoint || from;
  facts.connectionId = orBefore(step.connectionId, facts.connectionId);
  facts.toPeer = step.toPeer;
  facts.payload = step.payload;
  facts.established = step.progress.case === "established" ? step.progress.value : undefined;
  facts.pendingForMs = step.progress.case === "pending" ? milliseconds(step.progress.value.expiresIn) : 0;
}

function orBefore(now: Uint8Array, before: Uint8Array): Uint8Array {
  return now.length > 0 ? now : before;
}

function milliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}
