/**
 * One Transport stream over a connection of its own.
 *
 * A caller that writes only while it is not reading can lock up with a service that does the same as soon as both
 * directions are full. Here answers are always read, whatever the writing side waits for.
 */

import { fromBinary } from "@bufbuild/protobuf";
import type { Client as Channel, ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import type { Bundle } from "./bundle.js";
import { methods } from "./calls.js";
import type { Channels } from "./channels.js";
import { Code, fromGrpc, fromRefused, NoisegateError } from "./errors.js";
import type { Line } from "./line.js";
import {
  TransportRequestSchema,
  TransportResponseSchema,
  type TransportAnswer,
  type TransportResponse,
} from "./noisegate/v1/session_crypto_service_pb.js";
import { asIs, encoded, pathOf } from "./wire.js";

/** Batches that one stream has under way, as many as may wait at the service; more wait here and grow. */
const MAX_UNANSWERED = 32;

/** From here on a message takes no further batch; with the longest one it is still below the service's limit. */
const JOINED_BYTES = 256 * 1024;

type Stream = ClientDuplexStream<Buffer, TransportResponse>;

export class Link {
  readonly #line: Line;
  readonly #unanswered = new Map<bigint, Bundle>();
  #channel: Channel | undefined;
  #stream: Stream | undefined;
  #number = 0n;
  /** The stream takes no more until it says so. */
  #full = false;
  #draining = false;
  #over = false;

  constructor(line: Line, channels: Channels, address: string) {
    this.#line = line;
    void this.#open(channels, address);
  }

  get busy(): boolean {
    return this.#unanswered.size > 0;
  }

  /** Ends the stream; the line hears of it as of any other end. */
  cancel(): void {
    this.#stream?.cancel();
    this.#ended(new NoisegateError(Code.CANCELLED, "the stream was closed"));
  }

  /** There may be something to take: sends the batches that are due, as far as the stream takes them. */
  wake(): void {
    while (this.#stream !== undefined && !this.#over && !this.#full && !this.#draining) {
      const batches = this.#next();
      if (batches.length === 0) {
        return;
      }
      this.#full = !this.#stream.write(encoded(TransportRequestSchema, { batches }));
    }
  }

  async #open(channels: Channels, address: string): Promise<void> {
    try {
      const headers = await channels.headers(false);
      if (this.#over) {
        return;
      }
      this.#channel = channels.dial(address);
      this.#stream = this.#channel.makeBidiStreamRequest(
        pathOf(methods.transport),
        asIs,
        (bytes: Buffer) => fromBinary(TransportResponseSchema, bytes),
        headers,
      );
    } catch (error) {
      this.#ended(new NoisegateError(Code.INTERNAL, String(error), {}, { cause: error }));
      return;
    }
    this.#stream.on("data", (response) => this.#read(response));
    this.#stream.on("drain", () => {
      this.#full = false;
      this.wake();
    });
    this.#stream.on("error", (error) => this.#ended(howItEnded(error as ServiceError)));
    this.#stream.on("end", () => this.#ended(new NoisegateError(Code.UNAVAILABLE, "the service ended the stream")));
    this.wake();
  }

  /** Batches that are due, as one message: it costs both sides hardly more than one of them alone. */
  #next() {
    const batches = [];
    for (let size = 0; size < JOINED_BYTES && this.#unanswered.size < MAX_UNANSWERED; ) {
      const bundle = this.#line.take(this);
      if (bundle === undefined) {
        break;
      }
      this.#number += 1n;
      batches.push(bundle.request(this.#number));
      size += bundle.size;
      this.#unanswered.set(this.#number, bundle);
    }
    return batches;
  }

  #read(response: TransportResponse): void {
    for (const answer of response.answers) {
      this.#settle(answer);
    }
    if (response.draining !== undefined && !this.#draining) {
      this.#draining = true;
      this.#line.draining(this);
      // The service ends the stream once everything that it has read is answered.
      this.#stream?.end();
    }
    this.wake();
  }

  #settle(answer: TransportAnswer): void {
    const bundle = this.#unanswered.get(answer.correlationId);
    this.#unanswered.delete(answer.correlationId);
    if (bundle === undefined) {
      return;
    }
    if (answer.answer.case === "refused") {
      this.#line.refused(bundle, fromRefused(answer.answer.value));
      return;
    }
    this.#line.answered();
    bundle.answered(answer);
  }

  #ended(why: NoisegateError): void {
    if (this.#over) {
      return;
    }
    this.#over = true;
    this.#channel?.close();
    const left = [...this.#unanswered.values()];
    this.#unanswered.clear();
    this.#line.ended(this, left, why);
  }
}

const CUT: ReadonlySet<Code> = new Set([Code.INTERNAL, Code.CANCELLED, Code.UNKNOWN]);

/** A connection that is gone is one thing, however gRPC names it. */
function howItEnded(error: ServiceError): NoisegateError {
  const why = fromGrpc(error);
  return why.reason === "" && CUT.has(why.code) ? new NoisegateError(Code.UNAVAILABLE, error.details) : why;
}
