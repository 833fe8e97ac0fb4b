/** One batch of the stream, from its first call to its answer. */

import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { notWhole, type NoisegateError } from "./errors.js";
import type { TransportAnswer, TransportBatchSchema } from "./noisegate/v1/session_crypto_service_pb.js";
import { decryptBatchOf, encryptBatchOf, openedItems, sealedItems, sizeOf, type Item } from "./packing.js";
import type { Opened, Sealed } from "./records.js";

/**
 * What may stand together in one batch. `seal`, DATAGRAM: whoever seals again gets another counter, so a repeat needs
 * no request_id and nothing kept for it. `sealInTurn`, NOISE: the counter travels with nobody, so it is sealed once, by
 * a request_id. `open` likewise: a second time it would be a replay.
 */
export type BatchKind = "seal" | "sealInTurn" | "open";

/** One call that waits for its result. */
export interface Waiting {
  readonly item: Item;
  readonly settle: (result: Sealed | Opened | Error) => void;
  /** Nobody waits any more. */
  gone: boolean;
  /** Why the last attempt was in vain. */
  refused: NoisegateError | undefined;
}

type Body = NonNullable<MessageInitShape<typeof TransportBatchSchema>["batch"]>;

export class Bundle {
  calls: Waiting[] = [];
  size = 0;
  /** It goes as soon as a link takes it, and grows until then. */
  due = false;
  /** As the policy counts them. */
  attempts = 0;
  #body: Body | undefined;

  constructor(readonly kind: BatchKind) {}

  add(call: Waiting): void {
    this.calls.push(call);
    this.size += sizeOf(call.item);
  }

  /** Whether a call still waits for it. */
  get wanted(): boolean {
    return this.calls.some((call) => !call.gone);
  }

  /** The message that carries it. A repeat has the same request_id and the same items, where it has one at all. */
  request(correlationId: bigint): MessageInitShape<typeof TransportBatchSchema> {
    if (this.#body === undefined || this.kind === "seal") {
      // What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so the session.
      this.calls = this.calls.filter((call) => !call.gone);
      this.#body = this.#made();
    }
    return { correlationId, batch: this.#body };
  }

  /** Hands out the results. */
  answered({ answer }: TransportAnswer): void {
    let results: (Sealed | Opened | Error)[];
    try {
      if (this.kind === "open" && answer.case === "decrypt") {
        results = openedItems(answer.value, this.#items());
      } else if (this.kind !== "open" && answer.case === "encrypt") {
        results = sealedItems(answer.value, this.calls.length);
      } else {
        throw notWhole("the batch that was asked for");
      }
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    this.calls.forEach((call, n) => call.settle(results[n]!));
  }

  /** Ends every call that still waits. */
  fail(error: Error): void {
    this.calls.forEach((call) => call.settle(error));
  }

  /** Remembers why an attempt was in vain. */
  inVain(why: NoisegateError): void {
    this.calls.forEach((call) => (call.refused = why));
  }

  #items(): Item[] {
    return this.calls.map((call) => call.item);
  }

  #made(): Body {
    if (this.kind === "open") {
      return { case: "decrypt", value: decryptBatchOf(this.#items(), randomUUID()) };
    }
    const requestId = this.kind === "seal" ? "" : randomUUID();
    return { case: "encrypt", value: encryptBatchOf(this.#items(), requestId) };
  }
}
