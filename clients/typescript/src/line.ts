/**
 * Collects the calls for one endpoint into batches, over one stream at a time. While a stream that drains is read to
 * its end, another one takes what is new.
 */

import { Bundle, type BatchKind, type Waiting } from "./bundle.js";
import type { Channels } from "./channels.js";
import { ClientClosed, Code, type NoisegateError } from "./errors.js";
import { Link } from "./link.js";
import { backoff, counts, type Multiplex, type Policy } from "./options.js";
import { sizeOf } from "./packing.js";

export class Line {
  readonly #channels: Channels;
  readonly #address: string;
  readonly #policy: Policy;
  readonly #options: Required<Multiplex>;

  /** Of each kind the one that may still grow. */
  readonly #filling = new Map<BatchKind, Bundle>();
  /** Due, the oldest first. */
  #ready: Bundle[] = [];
  readonly #links = new Set<Link>();
  /** Takes what is new. */
  #link: Link | undefined;
  /** What will happen, and the batch that waits for it. */
  readonly #timers = new Map<NodeJS.Timeout, Bundle | undefined>();
  #ticking = false;
  #pausing = false;
  #failures = 0;
  #closed = false;

  constructor(channels: Channels, address: string, policy: Policy, options: Required<Multiplex>) {
    this.#channels = channels;
    this.#address = address;
    this.#policy = policy;
    this.#options = options;
  }

  /** Lets a call go with the next batch of its kind. */
  add(kind: BatchKind, call: Waiting): void {
    if (this.#closed) {
      call.settle(new ClientClosed());
      return;
    }
    const { maxItems, maxBytes, tickMs } = this.#options;
    let filling = this.#filling.get(kind);
    if (filling !== undefined && filling.size + sizeOf(call.item) > maxBytes) {
      this.#due(filling);
      filling = undefined;
    }
    if (filling === undefined) {
      filling = new Bundle(kind);
      this.#filling.set(kind, filling);
    }
    filling.add(call);
    if (filling.calls.length >= maxItems || filling.size >= maxBytes) {
      this.#due(filling);
      this.#filling.delete(kind);
      this.#wake();
    } else if (!filling.due && !this.#ticking) {
      this.#ticking = true;
      this.#after(tickMs, () => this.#tick());
    }
  }

  /** Gives a link the oldest batch that is due and that somebody still waits for. */
  take(link: Link): Bundle | undefined {
    while (link === this.#link) {
      const oldest = this.#ready.shift();
      if (oldest === undefined) {
        return undefined;
      }
      if (this.#filling.get(oldest.kind) === oldest) {
        this.#filling.delete(oldest.kind);
      }
      if (oldest.wanted) {
        return oldest;
      }
    }
    return undefined;
  }

  /** The service is well. */
  answered(): void {
    this.#failures = 0;
  }

  /** The service did nothing for this batch; where that may change, the batch goes again after a while. */
  refused(bundle: Bundle, why: NoisegateError): void {
    const delay = backoff(this.#policy, bundle.attempts, Math.random(), why.retryDelayMs);
    if (this.#goesAgain(bundle, why)) {
      const again = (): void => {
        this.#ready.push(bundle);
        this.#wake();
      };
      this.#after(delay, again, bundle);
    }
  }

  /** What is new goes over another connection. */
  draining(link: Link): void {
    if (link === this.#link) {
      this.#link = undefined;
    }
    this.#wake();
  }

  /** Batches without an answer go again, in their order and before newer ones; after a while, if the stream failed. */
  ended(link: Link, unanswered: readonly Bundle[], why: NoisegateError): void {
    this.#links.delete(link);
    if (link === this.#link) {
      this.#link = undefined;
    }
    if (this.#closed) {
      unanswered.forEach((bundle) => bundle.fail(new ClientClosed()));
      return;
    }
    this.#ready = [...unanswered.filter((bundle) => this.#goesAgain(bundle, why)), ...this.#ready];
    if (why.code !== Code.UNAVAILABLE) {
      this.#failAll(why);
    }
    for (const bundle of this.#ready) {
      bundle.calls.forEach((call) => (call.refused = why));
    }
    if (this.#link !== undefined) {
      this.#link.wake();
    } else if (this.#ready.length > 0 && !this.#pausing) {
      this.#pausing = true;
      const delay = backoff(this.#policy, this.#failures, Math.random(), why.retryDelayMs);
      this.#failures += 1;
      this.#after(delay, () => {
        this.#pausing = false;
        this.#wake();
      });
    }
  }

  /** Whether somebody waits for it. */
  get busy(): boolean {
    return this.#ready.length > 0 || this.#timers.size > 0 || [...this.#links].some((link) => link.busy);
  }

  /** Ends every stream; calls that wait end with ClientClosed. */
  close(): void {
    this.#closed = true;
    for (const [timer, bundle] of this.#timers) {
      clearTimeout(timer);
      bundle?.fail(new ClientClosed());
    }
    this.#timers.clear();
    this.#failAll(new ClientClosed());
    [...this.#links].forEach((link) => link.cancel());
  }

  #after(delay: number, act: () => void, waiting?: Bundle): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delay);
    this.#timers.set(timer, waiting);
  }

  /** What has been collected goes now, and grows on until a link takes it. */
  #tick(): void {
    this.#ticking = false;
    this.#filling.forEach((bundle) => this.#due(bundle));
    this.#wake();
  }

  #due(bundle: Bundle): void {
    if (!bundle.due) {
      bundle.due = true;
      this.#ready.push(bundle);
    }
  }

  /** Lets the link look, and opens one where there is none. */
  #wake(): void {
    if (this.#closed || this.#pausing || this.#ready.length === 0) {
      return;
    }
    if (this.#link === undefined) {
      this.#link = new Link(this, this.#channels, this.#address);
      this.#links.add(this.#link);
    }
    this.#link.wake();
  }

  #goesAgain(bundle: Bundle, why: NoisegateError): boolean {
    bundle.inVain(why);
    bundle.attempts += counts(this.#policy, why.reason) ? 1 : 0;
    if (why.code !== Code.UNAVAILABLE || bundle.attempts >= this.#policy.attempts) {
      bundle.fail(why);
      return false;
    }
    return bundle.wanted;
  }

  #failAll(why: Error): void {
    [...this.#filling.values(), ...this.#ready].forEach((bundle) => bundle.fail(why));
    this.#filling.clear();
    this.#ready = [];
  }
}
