/** The items of a batch: one behind the other in its request, a result for each in its answer. */

import { fromItem, notWhole, packetRefusal } from "./errors.js";
import {
  ControlKind,
  type BroadcastResponse,
  type DecryptBatchResponse,
  type EncryptBatchResponse,
  type ItemError,
  type ItemMessages,
} from "./noisegate/v1/session_crypto_service_pb.js";
import { refusedFor, type Opened, type Sealed } from "./records.js";

export const SESSION_ID_BYTES = 24;
export const MAX_BATCH_ITEMS = 1_024;
export const MAX_BATCH_BYTES = 1_310_720;

/** One of a batch: a plaintext to seal or a record to open. */
export interface Item {
  readonly sessionId: Uint8Array;
  readonly body: Uint8Array;
  readonly associatedData: Uint8Array;
}

/** What counts against a batch's limit of bytes. */
export function sizeOf(item: Item): number {
  return item.body.length + item.associatedData.length;
}

/** What both requests have in common. */
interface Packed {
  sessionIds: Uint8Array;
  counts: number[];
  lengths: number[];
  bodies: Uint8Array;
  associatedDataLengths: number[];
  associatedData: Uint8Array;
}

/** Neighbours of one session stand under one id. */
function pack(items: readonly Item[]): Packed {
  const ids: Uint8Array[] = [];
  let counts: number[] = [];
  for (const { sessionId } of items) {
    const last = ids.at(-1);
    if (last !== undefined && Buffer.compare(last, sessionId) === 0) {
      counts[counts.length - 1]! += 1;
    } else {
      ids.push(sessionId);
      counts.push(1);
    }
  }
  if (counts.length === items.length) {
    counts = []; // one each
  }
  const beside = items.map((item) => item.associatedData);
  return {
    sessionIds: Buffer.concat(ids),
    counts,
    lengths: items.map((item) => item.body.length),
    bodies: Buffer.concat(items.map((item) => item.body)),
    associatedDataLengths: beside.some((each) => each.length > 0) ? beside.map((each) => each.length) : [],
    associatedData: Buffer.concat(beside),
  };
}

export function encryptBatchOf(items: readonly Item[], requestId: string) {
  const { bodies, ...packed } = pack(items);
  return { ...packed, requestId, plaintexts: bodies };
}

export function decryptBatchOf(items: readonly Item[], requestId: string) {
  const { bodies, ...packed } = pack(items);
  return { ...packed, requestId, ciphertexts: bodies };
}

/** A result for each of `count` items. Throws where the answer is not whole. */
export function sealedItems(answer: EncryptBatchResponse | BroadcastResponse, count: number): (Sealed | Error)[] {
  const records = cut(answer.ciphertexts, answer.lengths, count);
  const [counters, epochs] = [column(answer.counters, count, 0n), column(answer.epochs, count, 0)];
  const due = new Set(sparse(answer.rotationDue, count));
  const toPeer = messagesOf(answer.toPeer, count);
  const errors = errorsOf(answer.errors, count);
  return records.map(
    (packet, n) =>
      errors.get(n) ?? {
        packet,
        toPeer: toPeer.get(n) ?? [],
        counter: counters(n),
        epoch: epochs(n),
        rotationDue: due.has(n),
      },
  );
}

/** Likewise; a packet that was refused is a result. */
export function openedItems(answer: DecryptBatchResponse, items: readonly Item[]): (Opened | Error)[] {
  const count = items.length;
  const plaintexts = cut(answer.plaintexts, answer.lengths, count);
  const [counters, epochs] = [column(answer.counters, count, 0n), column(answer.epochs, count, 0)];
  const newest = column([...answer.newest], count, 0);
  const due = new Set(sparse(answer.rotationDue, count));
  const early = new Set(sparse(answer.early, count));
  const toPeer = messagesOf(answer.toPeer, count);
  const errors = errorsOf(answer.errors, count);
  const controls = byIndex(answer.controls, count);
  return items.map(({ sessionId }, n) => {
    const error = errors.get(n);
    if (error !== undefined) {
      const refused = packetRefusal(error);
      return refused ? refusedFor(sessionId, refused) : error;
    }
    const control = controls.get(n);
    return {
      sessionId,
      refused: "",
      plaintext: control === undefined ? plaintexts[n] : undefined,
      control: control?.kind ?? ControlKind.UNSPECIFIED,
      answered: control?.answered ?? new Uint8Array(),
      toPeer: toPeer.get(n) ?? [],
      counter: counters(n),
      epoch: epochs(n),
      early: early.has(n),
      newest: newest(n) === 1,
      rotationDue: due.has(n),
    };
  });
}

/** A value for each item, or none at all, which stands for zeros. */
function column<T>(values: readonly T[], count: number, zero: T): (n: number) => T {
  if (values.length !== 0 && values.length !== count) {
    throw notWhole("a result for each item");
  }
  return (n) => values[n] ?? zero;
}

/** Numbers of items that only some have. */
function sparse(numbers: readonly number[], count: number): readonly number[] {
  if (numbers.some((number) => number >= count)) {
    throw notWhole("items that were asked for");
  }
  return numbers;
}

function byIndex<T extends { index: number }>(values: readonly T[], count: number): Map<number, T> {
  sparse(
    values.map((value) => value.index),
    count,
  );
  return new Map(values.map((value) => [value.index, value]));
}

function messagesOf(values: readonly ItemMessages[], count: number): Map<number, Uint8Array[]> {
  return new Map([...byIndex(values, count)].map(([n, value]) => [n, value.toPeer]));
}

function errorsOf(values: readonly ItemError[], count: number): Map<number, Error> {
  return new Map([...byIndex(values, count)].map(([n, value]) => [n, fromItem(value)]));
}

/** Gives each item its bytes. */
function cut(joined: Uint8Array, lengths: readonly number[], count: number): Uint8Array[] {
  if (lengths.length !== count) {
    throw notWhole("a length for each item");
  }
  let at = 0;
  const pieces = lengths.map((length) => {
    at += length;
    return joined.subarray(at - length, at);
  });
  if (at !== joined.length) {
    throw notWhole("just the bytes of its items");
  }
  return pieces;
}
