package io.noisegate;

import com.google.protobuf.ByteString;

/** One item as a batch carries it: a plaintext to seal or a record to open. */
record Piece(ByteString sessionId, byte[] body, byte[] associatedData) {

  /** What counts against a batch's limit of bytes. */
  int size() {
    return body.length + associatedData.length;
  }
}
