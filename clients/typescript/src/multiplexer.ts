/** Lets calls of many sessions travel together: one line for each endpoint, made when first needed. */

import type { BatchKind, Waiting } from "./bundle.js";
import { MAX_CHANNELS, type Channels } from "./channels.js";
import { cancelled, ClientClosed, Code, NoisegateError } from "./errors.js";
import { Line } from "./line.js";
import { credentialsFor, type CallOptions, type Multiplex, type Policy } from "./options.js";
import { MAX_BATCH_BYTES, MAX_BATCH_ITEMS, type Item } from "./packing.js";
import type { Opened, Sealed } from "./records.js";

export class Multiplexer {
  readonly #channels: Channels;
  readonly #policy: Policy;
  readonly #options: Required<Multiplex>;
  /** By endpoint. */
  readonly #lines = new Map<string, Line>();

  /** Throws RangeError. */
  constructor(channels: Channels, policy: Policy, { tickMs = 1, maxItems = 256, maxBytes = 256 * 1024 }: Multiplex) {
    const fits = tickMs >= 0 && tickMs <= 100 && maxItems >= 1 && maxItems <= MAX_BATCH_ITEMS;
    if (!fits || maxBytes < 1 || maxBytes > MAX_BATCH_BYTES) {
      throw new RangeError("multiplex: tickMs at most 100, maxItems at most 1,024, maxBytes at most 1,310,720");
    }
    this.#channels = channels;
    this.#policy = policy;
    this.#options = { tickMs, maxItems, maxBytes };
  }

  /** Lets one item go with the next batch of its kind, and waits for what becomes of it. */
  enter(endpoint: string, kind: BatchKind, item: Item, { signal, deadlineMs }: CallOptions): Promise<Sealed | Opened> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(cancelled(signal));
        return;
      }
      const settle = (result: Sealed | Opened | Error): void => {
        call.gone = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", cancel);
        if (result instanceof Error) {
          reject(result);
        } else {
          resolve(result);
        }
      };
      // A batch may wait to go again when its time is up: then that is why.
      const late = (): void =>
        settle(call.refused ?? new NoisegateError(Code.DEADLINE_EXCEEDED, "no answer came in time"));
      const cancel = (): void => settle(cancelled(signal!));
      const call: Waiting = { item, settle, gone: false, refused: undefined };
      const timer = setTimeout(late, deadlineMs ?? this.#policy.packetDeadlineMs);
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        this.#line(endpoint).add(kind, call);
      } catch (error) {
        settle(error as Error);
      }
    });
  }

  /** Ends every stream; calls that wait end with ClientClosed. */
  close(): void {
    this.#lines.forEach((line) => line.close());
    this.#lines.clear();
  }

  #line(endpoint: string): Line {
    if (this.#channels.closed) {
      throw new ClientClosed();
    }
    let line = this.#lines.get(endpoint);
    if (line === undefined) {
      const address = endpoint || this.#channels.target;
      credentialsFor(address, this.#channels.options);
      line = new Line(this.#channels, address, this.#policy, this.#options);
      this.#retire();
      this.#lines.set(endpoint, line);
    }
    return line;
  }

  /** Closes a line that nobody waits for, where there are too many. */
  #retire(): void {
    if (this.#lines.size < MAX_CHANNELS) {
      return;
    }
    for (const [endpoint, line] of this.#lines) {
      if (!line.busy) {
        this.#lines.delete(endpoint);
        line.close();
        return;
      }
    }
  }
}
