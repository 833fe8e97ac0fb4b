/** Many packets in few calls. */

import { randomUUID } from "node:crypto";
import { methods, type Calls } from "./calls.js";
import type { CallOptions } from "./options.js";
import {
  decryptBatchOf,
  encryptBatchOf,
  MAX_BATCH_BYTES,
  MAX_BATCH_ITEMS,
  openedItems,
  sealedItems,
  SESSION_ID_BYTES,
  sizeOf,
  type Item,
} from "./packing.js";
import type { Opened, Sealed } from "./records.js";
import type { Session } from "./session.js";
import type { Direction, Release } from "./turns.js";

/** One of a batch: a plaintext to seal or a packet to open, and the session that it is for. */
export interface BatchItem {
  readonly session: Session;
  readonly body: Uint8Array;
  readonly associatedData?: Uint8Array;
}

/** Asks for some items of one endpoint. */
type Ask<R> = (endpoint: string, part: readonly Item[]) => Promise<(R | Error)[]>;

export class Batches {
  constructor(readonly calls: Calls) {}

  async encrypt(items: readonly BatchItem[], options: CallOptions): Promise<(Sealed | Error)[]> {
    const results = await inParts(items, "sending", options, async (endpoint, part) => {
      const request = encryptBatchOf(part, randomUUID());
      const { answer } = await this.calls.ask(methods.encryptBatch, endpoint, request, options);
      return sealedItems(answer, part.length);
    });
    return handed(items, results);
  }

  async decrypt(items: readonly BatchItem[], options: CallOptions): Promise<(Opened | Error)[]> {
    const results = await inParts(items, "receiving", options, async (endpoint, part) => {
      const request = decryptBatchOf(part, randomUUID());
      const { answer } = await this.calls.ask(methods.decryptBatch, endpoint, request, options);
      return openedItems(answer, part);
    });
    results.forEach((result, n) => {
      if (!(result instanceof Error)) {
        items[n]!.session.noticeClose(result);
      }
    });
    return handed(items, results);
  }

  async broadcast(
    sessions: readonly Session[],
    plaintext: Uint8Array,
    options: CallOptions & { associatedData?: Uint8Array },
  ): Promise<(Sealed | Error)[]> {
    const associatedData = options.associatedData ?? new Uint8Array();
    const items = sessions.map((session) => ({ session, body: plaintext, associatedData }));
    const results = await inParts(items, "sending", options, async (endpoint, part) => {
      const sessionIds = Buffer.concat(part.map((item) => item.sessionId));
      const request = { sessionIds, requestId: randomUUID(), plaintext, associatedData };
      const { answer } = await this.calls.ask(methods.broadcast, endpoint, request, options);
      return sealedItems(answer, part.length);
    });
    return handed(items, results);
  }
}

/** Remembers lost sessions, and gives messages for players to the hook. */
function handed<R extends { toPeer: Uint8Array[] }>(
  items: readonly BatchItem[],
  results: (R | Error)[],
): (R | Error)[] {
  results.forEach((result, n) => {
    const { session } = items[n]!;
    if (result instanceof Error) {
      session.notice(result);
    } else {
      session.handed(result);
    }
  });
  return results;
}

/**
 * Asks for all items, the endpoints side by side. What fits into no one call goes in several, one after the other:
 * parts may have items of the same session, whose order is kept.
 */
async function inParts<R>(
  items: readonly BatchItem[],
  way: Direction,
  options: CallOptions,
  ask: Ask<R>,
): Promise<(R | Error)[]> {
  const results = new Array<R | Error>(items.length);
  let release: Release;
  try {
    release = await takeTurns(items, way, options.signal);
  } catch (error) {
    return results.fill(error as Error);
  }
  try {
    const endpoints = new Map<string, number[]>();
    items.forEach(({ session }, n) => {
      if (session.id.length !== SESSION_ID_BYTES) {
        // An id of another length would shift those behind it.
        results[n] = new RangeError(`a session in a batch has an id of ${SESSION_ID_BYTES} bytes`);
        return;
      }
      const numbers = endpoints.get(session.endpoint);
      if (numbers === undefined) {
        endpoints.set(session.endpoint, [n]);
      } else {
        numbers.push(n);
      }
    });
    await Promise.all(
      [...endpoints].map(async ([endpoint, numbers]) => {
        for (const part of parts(items, numbers)) {
          const answered = await orError(
            ask,
            endpoint,
            part.map((n) => itemOf(items[n]!)),
          );
          part.forEach((n, place) => (results[n] = answered[place]!));
        }
      }),
    );
  } finally {
    release();
  }
  return results;
}

function itemOf({ session, body, associatedData }: BatchItem): Item {
  return { sessionId: session.id, body, associatedData: associatedData ?? new Uint8Array() };
}

/** A call that fails is the error of its items. */
async function orError<R>(ask: Ask<R>, endpoint: string, part: readonly Item[]): Promise<(R | Error)[]> {
  try {
    return await ask(endpoint, part);
  } catch (error) {
    return part.map(() => error as Error);
  }
}

/** As many items as one call takes, then the next. */
function* parts(items: readonly BatchItem[], numbers: readonly number[]): Generator<number[]> {
  let [part, bytes]: [number[], number] = [[], 0];
  for (const number of numbers) {
    const size = sizeOf(itemOf(items[number]!));
    if (part.length > 0 && (part.length === MAX_BATCH_ITEMS || bytes + size > MAX_BATCH_BYTES)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(number);
    bytes += size;
  }
  if (part.length > 0) {
    yield part;
  }
}

/** Takes those of all sessions, in the order of their ids, so that two batches cannot wait for each other. */
async function takeTurns(items: readonly BatchItem[], way: Direction, signal?: AbortSignal): Promise<Release> {
  const sessions = [...new Set(items.map((item) => item.session))].sort((a, b) => Buffer.compare(a.id, b.id));
  const releases: Release[] = [];
  const release = (): void => releases.forEach((each) => each());
  try {
    for (const session of sessions) {
      const taken = await session.takeTurns([way], signal);
      if (taken !== undefined) {
        releases.push(taken);
      }
    }
  } catch (error) {
    release();
    throw error;
  }
  return release;
}
