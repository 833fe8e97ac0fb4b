/**
 * Reads google.rpc.Status with the details that noisegate sends, ErrorInfo and RetryInfo: three messages, for which no
 * small library has types.
 */

import { BinaryReader } from "@bufbuild/protobuf/wire";

const DOMAIN = "noisegate";

export interface ReadStatus {
  code: number;
  message: string;
  /** Empty where the details have no ErrorInfo of noisegate's. */
  reason: string;
  metadata: Record<string, string>;
  retryDelayMs: number;
}

/** Nothing where the bytes are no status. */
export function readStatus(bytes: Uint8Array): ReadStatus | undefined {
  const status: ReadStatus = { code: 0, message: "", reason: "", metadata: {}, retryDelayMs: 0 };
  try {
    fields(bytes, {
      1: (reader) => (status.code = reader.int32()),
      2: (reader) => (status.message = reader.string()),
      3: (reader) => detail(reader.bytes(), status),
    });
  } catch {
    return undefined;
  }
  return status;
}

function detail(any: Uint8Array, status: ReadStatus): void {
  let type = "";
  let value: Uint8Array = new Uint8Array();
  fields(any, { 1: (reader) => (type = reader.string()), 2: (reader) => (value = reader.bytes()) });
  if (type.endsWith("/google.rpc.ErrorInfo")) {
    errorInfo(value, status);
  } else if (type.endsWith("/google.rpc.RetryInfo")) {
    fields(value, { 1: (reader) => (status.retryDelayMs = Math.max(0, duration(reader.bytes()))) });
  }
}

function errorInfo(bytes: Uint8Array, status: ReadStatus): void {
  let [reason, domain] = ["", ""];
  const metadata: Record<string, string> = {};
  fields(bytes, {
    1: (reader) => (reason = reader.string()),
    2: (reader) => (domain = reader.string()),
    3: (reader) => {
      let [key, value] = ["", ""];
      fields(reader.bytes(), { 1: (entry) => (key = entry.string()), 2: (entry) => (value = entry.string()) });
      metadata[key] = value;
    },
  });
  if (domain === DOMAIN) {
    status.reason = reason;
    status.metadata = metadata;
  }
}

/** Milliseconds of a google.protobuf.Duration. */
function duration(bytes: Uint8Array): number {
  let milliseconds = 0;
  fields(bytes, {
    1: (reader) => (milliseconds += Number(reader.int64()) * 1_000),
    2: (reader) => (milliseconds += reader.int32() / 1_000_000),
  });
  return milliseconds;
}

/** Hands each known field to its reader; others are passed over. */
function fields(bytes: Uint8Array, known: Record<number, (reader: BinaryReader) => unknown>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const read = known[number];
    if (read === undefined) {
      reader.skip(type, number);
    } else {
      read(reader);
    }
  }
}
