/**
 * The SDK of noisegate: a game service hands the crypto of its players' sessions to a service, bytes in, bytes out. It
 * forwards what a player sent and sends what it gets back; keys never leave the service, and no cryptography is done
 * here.
 *
 * Requests and descriptions are the contract's own messages, whose comments are the reference of every field.
 */

export { connect, type Client, type EndpointOptions, type SessionFilter } from "./client.js";
export type { DecryptOptions, RecordOptions, Session } from "./session.js";
export { DEFAULT_POLICY } from "./options.js";
export type { CallOptions, ConnectOptions, Multiplex, Policy, Tls } from "./options.js";
export { messages, type Opened, type Sealed } from "./records.js";
export type { BatchItem } from "./batch.js";
export { ClientClosed, Code, InsecureTarget, NoisegateError, ResumeNeeded, RetryNeeded } from "./errors.js";
export type { Reason } from "./errors.js";
export * from "./noisegate/v1/error_reason_pb.js";
export {
  ControlKind,
  Direction,
  EarlyData,
  RotationKind,
  SessionEventKind,
  type GetCapabilitiesResponse,
  type IssueTicketResponse,
  type NetworkChange,
  type RotateResponse,
  type SuspendSessionResponse,
  type WatchSessionsResponse,
} from "./noisegate/v1/session_crypto_service_pb.js";
export {
  Network,
  Pattern,
  RecordMode,
  Role,
  SessionState,
  Suite,
  TerminationReason,
  type Established,
  type Protocol,
  type Session as SessionDescription,
  type SessionOptions,
} from "./noisegate/v1/session_pb.js";
export { Receiver, type ReceiverOptions } from "./receiver.js";
export type { Admission, Datagram, Received } from "./received.js";
export { peek, type PacketType, type Peeked } from "./packet.js";
export { BadFragment, DEFAULT_MTU, DEFAULT_REASSEMBLY, Reassembler, split } from "./fragments.js";
export type { ReassemblyLimits } from "./fragments.js";
