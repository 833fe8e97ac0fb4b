/** What calls may end with. A packet that was refused is a result and no error: see `Opened.refused`. */

import { status as Code, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { ErrorReason } from "./noisegate/v1/error_reason_pb.js";
import {
  HandshakeRetry_Reason,
  type ItemError,
  type TransportRefused,
} from "./noisegate/v1/session_crypto_service_pb.js";
import { readStatus, type ReadStatus } from "./status.js";

export { Code };

/**
 * Why the service refused something: a value of the contract's ErrorReason (docs/errors.md says what each means and
 * what to do). A newer service may have others, so that any string must be reckoned with.
 */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED"> | (string & {});

/** A call that was refused or got no answer. */
export class NoisegateError extends Error {
  override readonly name: string = "NoisegateError";
  /** The gRPC status code. */
  readonly code: Code;
  /** Why the service refused; empty where gRPC itself gave up. */
  readonly reason: Reason;
  /** For programs, e.g. `cause` and `resumable` of SESSION_CLOSED. */
  readonly metadata: Readonly<Record<string, string>>;
  /** How long the service asks to wait; 0 where it did not. */
  readonly retryDelayMs: number;

  constructor(code: Code, message: string, details: Partial<ReadStatus> = {}, options?: ErrorOptions) {
    const reason = details.reason ?? "";
    super(`${reason || Code[code]}: ${message}`, options);
    this.code = code;
    this.reason = reason;
    this.metadata = details.metadata ?? {};
    this.retryDelayMs = details.retryDelayMs ?? 0;
  }
}

/**
 * The session is lost: unknown, expired or ended (SESSION_NOT_FOUND, SESSION_CLOSED). The player holds the ticket: have
 * it resume, or shake hands anew.
 */
export class ResumeNeeded extends NoisegateError {
  override readonly name = "ResumeNeeded";
}

/** The client was closed before or during the call. */
export class ClientClosed extends Error {
  override readonly name = "ClientClosed";
  constructor() {
    super("the client is closed");
  }
}

/** Secrets would leave this machine in plaintext. Nothing was sent. */
export class InsecureTarget extends Error {
  override readonly name = "InsecureTarget";
  constructor(readonly target: string) {
    super(`${target} is no loopback address: give tls, or insecure in a network that you trust`);
  }
}

/**
 * The player has to begin anew, otherwise (DATAGRAM). There is no session, and so no `onSend`: send the player
 * `toPeer`, which says how.
 */
export class RetryNeeded extends Error {
  override readonly name = "RetryNeeded";
  constructor(
    readonly why: "CHOOSE" | "CLOCK",
    readonly toPeer: Uint8Array[],
  ) {
    super(`the player has to begin anew: ${why}`);
  }
}

export function retryNeeded(reason: HandshakeRetry_Reason, toPeer: Uint8Array[]): RetryNeeded {
  return new RetryNeeded(reason === HandshakeRetry_Reason.CLOCK ? "CLOCK" : "CHOOSE", toPeer);
}

/** The refusals of a packet, as opposed to those of its call. */
const PACKET_REFUSALS: ReadonlySet<string> = new Set(["DECRYPT_FAILED", "REPLAY_DETECTED", "COUNTER_TOO_OLD"]);

/** Why a packet is to be dropped; empty where the error is of something else. */
export function packetRefusal(error: unknown): Reason {
  return error instanceof NoisegateError && PACKET_REFUSALS.has(error.reason) ? error.reason : "";
}

const LOST: ReadonlySet<string> = new Set(["SESSION_NOT_FOUND", "SESSION_CLOSED"]);

function made(code: Code, message: string, details: Partial<ReadStatus>, options?: ErrorOptions): NoisegateError {
  const kind = LOST.has(details.reason ?? "") ? ResumeNeeded : NoisegateError;
  return new kind(code, message, details, options);
}

const STATUS_KEY = "grpc-status-details-bin";

/** What a gRPC call gave. */
export function fromGrpc(error: ServiceError): NoisegateError {
  const metadata = error.metadata as Metadata | undefined;
  const [bytes] = metadata?.get(STATUS_KEY) ?? [];
  const details = bytes instanceof Uint8Array ? readStatus(bytes) : undefined;
  return made(error.code, error.details, details ?? {});
}

/** The refusal of a whole batch of a stream. */
export function fromRefused(refused: TransportRefused): NoisegateError {
  const details = readStatus(refused.status);
  return made(details?.code || refused.code, details?.message ?? "the batch was refused", details ?? {});
}

/** The refusal of one item of a batch. */
export function fromItem(item: ItemError): NoisegateError {
  const reason = item.reason === ErrorReason.UNSPECIFIED ? "" : (ErrorReason[item.reason] ?? "");
  return made(item.code, item.message, { reason, metadata: item.metadata });
}

/** A call that its caller gave up. */
export function cancelled(signal: AbortSignal): NoisegateError {
  return new NoisegateError(Code.CANCELLED, "cancelled by the caller", {}, { cause: signal.reason });
}

/** An answer that does not fit its request. */
export function notWhole(what: string): NoisegateError {
  return new NoisegateError(Code.INTERNAL, `the answer does not have ${what}`);
}
