/** Single calls: their deadline, their repeats, and the endpoint that they end up at. */

import {
  fromBinary,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Client as Channel, Metadata } from "@grpc/grpc-js";
import type { Channels } from "./channels.js";
import { cancelled, ClientClosed, Code, fromGrpc, NoisegateError } from "./errors.js";
import { SessionCryptoService } from "./noisegate/v1/session_crypto_service_pb.js";
import { backoff, counts, type CallOptions, type Policy } from "./options.js";
import { unless } from "./turns.js";
import { asIs, encoded, pathOf } from "./wire.js";

/** How often one call follows WRONG_OWNER. */
const MAX_HOPS = 2;

/**
 * A kind of call decides its default deadline and whether it waits for a server that is not there yet: a packet that
 * has to wait is worth nothing.
 */
type Kind = "packet" | "batch" | "control";

const KINDS: Readonly<Record<string, Kind>> = {
  Encrypt: "packet",
  Decrypt: "packet",
  EncryptBatch: "batch",
  DecryptBatch: "batch",
  Broadcast: "batch",
};

export const methods = SessionCryptoService.method;

/** What came back, and from which endpoint. */
export interface Answered<O> {
  readonly answer: O;
  readonly endpoint: string;
}

export class Calls {
  constructor(
    readonly channels: Channels,
    readonly policy: Policy,
  ) {}

  /**
   * Runs one call to its end.
   *
   * It is repeated only where nothing came back (UNAVAILABLE: refused work or a dead connection), with the same message
   * and so the same request_id: what the service has done already it answers with the answer that was lost. Every
   * method that changes anything has a request_id. One deadline covers all attempts.
   */
  async ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    endpoint: string,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<Answered<MessageShape<O>>> {
    const kind = KINDS[method.name] ?? "control";
    const { packetDeadlineMs, controlDeadlineMs, attempts } = this.policy;
    const budget = options.deadlineMs ?? (kind === "packet" ? packetDeadlineMs : controlDeadlineMs);
    const deadline = Date.now() + budget;
    const body = encoded(method.input, request);
    for (let tried = 0, repeats = 0, hops = 0; ; ) {
      try {
        const answer = await this.#attempt(pathOf(method), kind, endpoint, body, deadline, options.signal);
        return { answer: fromBinary(method.output, answer), endpoint };
      } catch (error) {
        if (!(error instanceof NoisegateError)) {
          throw error;
        }
        const owner = error.metadata["owner"];
        if (error.reason === "WRONG_OWNER" && owner && hops < MAX_HOPS) {
          hops += 1;
          endpoint = owner;
          continue;
        }
        tried += counts(this.policy, error.reason) ? 1 : 0;
        const delay = backoff(this.policy, repeats, Math.random(), error.retryDelayMs);
        const again = isUnanswered(error) && options.signal?.aborted !== true && tried < attempts;
        if (!again || Date.now() + delay >= deadline) {
          throw error;
        }
        repeats += 1;
        await pause(delay, options.signal);
      }
    }
  }

  async #attempt(
    path: string,
    kind: Kind,
    endpoint: string,
    body: Buffer,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    return this.channels.use(endpoint, async (channel) => {
      const headers = await unless(this.channels.headers(kind === "control"), signal);
      try {
        return await unary(channel, path, body, headers, deadline, signal);
      } catch (error) {
        throw this.channels.closed ? new ClientClosed() : error;
      }
    });
  }
}

/**
 * Whether nothing came back, so that a repeat with the same request_id is right. A service that stops cancels calls
 * that reach it in that very moment.
 */
function isUnanswered({ code, reason }: NoisegateError): boolean {
  return code === Code.UNAVAILABLE || (code === Code.CANCELLED && reason === "");
}

/** One call of gRPC as a promise; the signal cancels it. */
function unary(
  channel: Channel,
  path: string,
  body: Buffer,
  headers: Metadata,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const call = channel.makeUnaryRequest(path, asIs, asIs, body, headers, { deadline }, (error, answer) => {
      signal?.removeEventListener("abort", cancel);
      if (error !== null) {
        reject(signal?.aborted ? cancelled(signal) : fromGrpc(error));
      } else {
        resolve(answer ?? new Uint8Array());
      }
    });
    const cancel = (): void => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

/** Waits; throws CANCELLED as soon as the signal says so. */
function pause(delay: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      clearTimeout(timer);
      reject(cancelled(signal!));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", cancel);
      resolve();
    }, delay);
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) {
      cancel();
    }
  });
}
