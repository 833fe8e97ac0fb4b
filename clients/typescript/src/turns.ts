/** Whose turn it is: in NOISE mode calls of one direction run one after the other. */

import { cancelled } from "./errors.js";

/** Of a session, seen from the service. */
export type Direction = "sending" | "receiving";

/** In this order, so that two calls cannot wait for each other. */
export const BOTH: readonly Direction[] = ["sending", "receiving"];

/** Lets go of what was taken. */
export type Release = () => void;

export class Turns {
  /** The end of the queue of each direction. */
  readonly #last: Record<Direction, Promise<void>> = { sending: Promise.resolve(), receiving: Promise.resolve() };

  /** Waits for the turn of these directions. CANCELLED where the signal comes first; the queue is then as it was. */
  async take(directions: readonly Direction[], signal?: AbortSignal): Promise<Release> {
    const releases: Release[] = [];
    const release = (): void => releases.forEach((each) => each());
    for (const direction of directions) {
      const before = this.#last[direction];
      let done!: Release;
      const over = new Promise<void>((resolve) => (done = resolve));
      this.#last[direction] = before.then(() => over);
      releases.push(done);
      try {
        await unless(before, signal);
      } catch (error) {
        release();
        throw error;
      }
    }
    return release;
  }
}

/** Waits for the promise. Throws CANCELLED as soon as the signal says so. */
export async function unless<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return promise;
  }
  return new Promise<T>((resolve, reject) => {
    const cancel = (): void => reject(cancelled(signal));
    if (signal.aborted) {
      cancel();
      return;
    }
    signal.addEventListener("abort", cancel, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", cancel));
  });
}
