package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.DecryptBatchRequest;
import io.noisegate.v1.EncryptBatchRequest;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;

/**
 * How a batch's request has its items: one behind the other, neighbours of one session under one
 * id; what all have alike is left out.
 */
record Packing(
    ByteString ids,
    List<Integer> counts,
    List<Integer> lengths,
    ByteString bodies,
    List<Integer> associatedDataLengths,
    ByteString associatedData) {

  static final int SESSION_ID_BYTES = 24;
  static final int MAX_BATCH_ITEMS = 1_024;
  static final int MAX_BATCH_BYTES = 1_310_720;

  static Packing of(List<Piece> pieces) {
    List<ByteString> ids = new ArrayList<>();
    ByteArrayOutputStream bodies = new ByteArrayOutputStream();
    ByteArrayOutputStream beside = new ByteArrayOutputStream();
    List<Integer> counts = new ArrayList<>();
    List<Integer> lengths = new ArrayList<>(pieces.size());
    List<Integer> besideLengths = new ArrayList<>(pieces.size());
    ByteString last = null;
    for (Piece piece : pieces) {
      if (piece.sessionId().equals(last)) {
        counts.set(counts.size() - 1, counts.get(counts.size() - 1) + 1);
      } else {
        last = piece.sessionId();
        ids.add(last);
        counts.add(1);
      }
      lengths.add(piece.body().length);
      bodies.writeBytes(piece.body());
      besideLengths.add(piece.associatedData().length);
      beside.writeBytes(piece.associatedData());
    }
    boolean oneEach = counts.size() == pieces.size();
    return new Packing(
        ByteString.copyFrom(ids),
        oneEach ? List.of() : counts,
        lengths,
        ByteString.copyFrom(bodies.toByteArray()),
        beside.size() == 0 ? List.of() : besideLengths,
        ByteString.copyFrom(beside.toByteArray()));
  }

  static EncryptBatchRequest encrypting(List<Piece> pieces, String requestId) {
    Packing packing = of(pieces);
    return EncryptBatchRequest.newBuilder()
        .setSessionIds(packing.ids)
        .setRequestId(requestId)
        .addAllCounts(packing.counts)
        .addAllLengths(packing.lengths)
        .setPlaintexts(packing.bodies)
        .addAllAssociatedDataLengths(packing.associatedDataLengths)
        .setAssociatedData(packing.associatedData)
        .build();
  }

  static DecryptBatchRequest decrypting(List<Piece> pieces, String requestId) {
    Packing packing = of(pieces);
    return DecryptBatchRequest.newBuilder()
        .setSessionIds(packing.ids)
        .setRequestId(requestId)
        .addAllCounts(packing.counts)
        .addAllLengths(packing.lengths)
        .setCiphertexts(packing.bodies)
        .addAllAssociatedDataLengths(packing.associatedDataLengths)
        .setAssociatedData(packing.associatedData)
        .build();
  }
}
