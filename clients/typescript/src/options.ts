/** What `connect` may be told. */

import { isIP } from "node:net";
import { credentials, type ChannelCredentials, type ChannelOptions, type Interceptor } from "@grpc/grpc-js";
import { InsecureTarget } from "./errors.js";
import type { Session } from "./session.js";

/**
 * How long calls may take and how they are repeated. The service remembers a request_id for 5 s: keep deadlines below
 * that.
 */
export interface Policy {
  /**
   * Milliseconds for Encrypt and Decrypt, all attempts together. NOISE mode: a late answer costs the session there, so
   * set it higher, e.g. 2,000, where a machine may be loaded.
   */
  readonly packetDeadlineMs: number;
  /** Milliseconds for every other call. */
  readonly controlDeadlineMs: number;
  /**
   * Attempts of one call at a service that refuses it (OVERLOADED), the first included; 1 for no repeats. Those that
   * found nobody, or a service that drains, do not count: until it is back, the deadline alone bounds them.
   */
  readonly attempts: number;
  /** The most to wait before the first repeat; it doubles up to `maxBackoffMs`. */
  readonly firstBackoffMs: number;
  readonly maxBackoffMs: number;
}

export const DEFAULT_POLICY: Policy = {
  packetDeadlineMs: 250,
  controlDeadlineMs: 2_000,
  attempts: 5,
  firstBackoffMs: 25,
  maxBackoffMs: 500,
};

/** Certificates and keys, PEM. */
export interface Tls {
  /** Who signs for the service; without it the authorities that Node knows. */
  readonly ca?: Uint8Array;
  /** For mutual TLS, which names the caller (a SPIFFE id as a rule). */
  readonly certificate?: Uint8Array;
  readonly key?: Uint8Array;
}

/** How calls of many sessions travel together. */
export interface Multiplex {
  /** How long a batch collects calls: 1 by default, at most 100. */
  readonly tickMs?: number;
  /** Items of one batch, which goes at once when it has them: 256 by default, at most 1,024. */
  readonly maxItems?: number;
  /** Bytes of its plaintexts or records: 256 KiB by default, at most 1,310,720; a longer call goes alone. */
  readonly maxBytes?: number;
}

export interface ConnectOptions {
  /** TLS to every endpoint that the service names. Without it `target` must be loopback. */
  readonly tls?: Tls;
  /** Credentials of gRPC in the place of `tls`, e.g. with certificates that are renewed. */
  readonly credentials?: ChannelCredentials;
  /**
   * A bearer token for every call; asked each time, so it keeps its own cache and bounds its own time. It needs TLS,
   * but for loopback.
   */
  readonly token?: () => string | Promise<string>;
  /**
   * Plaintext to addresses beyond loopback, in a network that you trust: plaintexts and pre-shared keys travel on it.
   */
  readonly insecure?: boolean;
  /** Deadlines and repeats. */
  readonly policy?: Partial<Policy>;
  /**
   * Lets Encrypt and Decrypt of all sessions travel together, in batches on one stream to each endpoint. The service's
   * policy must grant Transport, EncryptBatch and DecryptBatch.
   */
  readonly multiplex?: Multiplex;
  /**
   * Sends what the service has for players besides what was asked for: each message on its own, in this order. It is
   * called before the call that brought them ends, whose `toPeer` is then empty. It must not wait for the session.
   */
  readonly onSend?: (session: Session, messages: Uint8Array[]) => void;
  /**
   * Called with the headers of each call before it is sent, to carry the trace context along:
   * `(headers) => propagation.inject(context.active(), headers)`.
   */
  readonly inject?: (headers: Record<string, string>) => void;
  /** Options and interceptors of gRPC, which come after this SDK's own. */
  readonly channelOptions?: ChannelOptions;
  readonly interceptors?: Interceptor[];
}

/** Of one call. */
export interface CallOptions {
  /** Cancels the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal;
  /** In the place of the policy's deadline. It counts from when the call's turn has come (NOISE mode). */
  readonly deadlineMs?: number;
}

/** The policy with its defaults. Throws RangeError. */
export function policyOf(given: Partial<Policy> = {}): Policy {
  const policy = { ...DEFAULT_POLICY, ...given };
  const { packetDeadlineMs, controlDeadlineMs, attempts, firstBackoffMs, maxBackoffMs } = policy;
  if (!(packetDeadlineMs > 0 && controlDeadlineMs > 0 && attempts >= 1 && firstBackoffMs >= 0 && maxBackoffMs >= 0)) {
    throw new RangeError("policy: deadlines must be positive, attempts at least 1, back-off not negative");
  }
  return policy;
}

/** Whether an attempt that was refused for this reason, empty for none, is one of the policy's. */
export function counts(policy: Policy, reason: string): boolean {
  return policy.attempts === 1 || !(reason === "" || reason === "DRAINING");
}

/** Milliseconds before repeat 0, 1, ...; `share` is random in [0, 1). What the service asks for comes on top. */
export function backoff(policy: Policy, repeat: number, share: number, asked: number): number {
  const most = Math.min(policy.firstBackoffMs * 2 ** Math.min(repeat, 16), policy.maxBackoffMs);
  // Half is fixed, so that a repeat is never at once; half is random, so that clients do not march in step.
  return asked + most * (0.5 + 0.5 * share);
}

/** Throws InsecureTarget: an endpoint comes from the service, too, and must not talk this client out of TLS. */
export function credentialsFor(target: string, options: ConnectOptions): ChannelCredentials {
  if (options.credentials !== undefined) {
    return options.credentials;
  }
  if (options.tls !== undefined) {
    const { ca, certificate, key } = options.tls;
    return credentials.createSsl(pem(ca), pem(key), pem(certificate));
  }
  if (isLoopback(target) || (options.insecure === true && options.token === undefined)) {
    return credentials.createInsecure();
  }
  throw new InsecureTarget(target);
}

function pem(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes);
}

/** Whether HOST:PORT or a unix: address stays on this machine; of names only localhost does. */
export function isLoopback(target: string): boolean {
  if (target.startsWith("unix:")) {
    return true;
  }
  const host = /^\[?(.*?)\]?:\d+$/.exec(target)?.[1] ?? "";
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
