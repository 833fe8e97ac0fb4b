package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.BroadcastResponse;
import io.noisegate.v1.ControlKind;
import io.noisegate.v1.DecryptBatchResponse;
import io.noisegate.v1.EncryptBatchResponse;
import io.noisegate.v1.ItemControl;
import io.noisegate.v1.ItemError;
import io.noisegate.v1.ItemMessages;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ObjIntConsumer;
import java.util.function.ToIntFunction;

/**
 * Gives each item of a batch its result. Throws NoisegateException where an answer is not whole.
 */
final class Unpacking {
  private static final byte[] NONE = {};

  private final int count;

  private Unpacking(int count) {
    this.count = count;
  }

  /** What EncryptBatchResponse and BroadcastResponse have in common. */
  private record Columns(
      ByteString ciphertexts,
      List<Integer> lengths,
      List<Long> counters,
      List<Integer> epochs,
      List<Integer> rotationDue,
      List<ItemMessages> toPeer,
      List<ItemError> errors) {}

  static List<Result<Sealed>> sealed(EncryptBatchResponse answer, int count) {
    return new Unpacking(count)
        .sealed(
            new Columns(
                answer.getCiphertexts(),
                answer.getLengthsList(),
                answer.getCountersList(),
                answer.getEpochsList(),
                answer.getRotationDueList(),
                answer.getToPeerList(),
                answer.getErrorsList()));
  }

  static List<Result<Sealed>> sealed(BroadcastResponse answer, int count) {
    return new Unpacking(count)
        .sealed(
            new Columns(
                answer.getCiphertexts(),
                answer.getLengthsList(),
                answer.getCountersList(),
                answer.getEpochsList(),
                answer.getRotationDueList(),
                answer.getToPeerList(),
                answer.getErrorsList()));
  }

  private List<Result<Sealed>> sealed(Columns answer) {
    List<byte[]> records = cut(answer.ciphertexts(), answer.lengths());
    isColumn(answer.counters());
    isColumn(answer.epochs());
    boolean[] due = marked(answer.rotationDue());
    List<List<byte[]>> toPeer = messages(answer.toPeer());
    List<Result<Sealed>> results = new ArrayList<>(count);
    for (int n = 0; n < count; n++) {
      long counter = at(answer.counters(), n, 0L);
      int epoch = at(answer.epochs(), n, 0);
      Sealed sealed = new Sealed(records.get(n), toPeer.get(n), counter, epoch, due[n]);
      results.add(new Result.Done<>(sealed));
    }
    sparse(
        answer.errors(),
        ItemError::getIndex,
        (error, n) -> results.set(n, new Result.Failed<>(NoisegateException.of(error))));
    return results;
  }

  /** A packet that was refused is a result. */
  static List<Result<Opened>> opened(DecryptBatchResponse answer, List<Piece> pieces) {
    return new Unpacking(pieces.size()).openedOf(answer, pieces);
  }

  private List<Result<Opened>> openedOf(DecryptBatchResponse answer, List<Piece> pieces) {
    List<byte[]> plaintexts = cut(answer.getPlaintexts(), answer.getLengthsList());
    isColumn(answer.getCountersList());
    isColumn(answer.getEpochsList());
    ByteString newest = answer.getNewest();
    if (!newest.isEmpty() && newest.size() != count) {
      throw NoisegateException.notWhole("a result for each item");
    }
    boolean[] early = marked(answer.getEarlyList());
    boolean[] due = marked(answer.getRotationDueList());
    List<List<byte[]>> toPeer = messages(answer.getToPeerList());
    ItemControl[] controls = new ItemControl[count];
    sparse(answer.getControlsList(), ItemControl::getIndex, (each, n) -> controls[n] = each);
    List<Result<Opened>> results = new ArrayList<>(count);
    for (int n = 0; n < count; n++) {
      byte[] sessionId = pieces.get(n).sessionId().toByteArray();
      long counter = at(answer.getCountersList(), n, 0L);
      int epoch = at(answer.getEpochsList(), n, 0);
      boolean isNewest = !newest.isEmpty() && newest.byteAt(n) == 1;
      var position = new Opened.Position(counter, epoch, early[n], isNewest, due[n]);
      Opened opened;
      if (controls[n] == null) {
        opened = new Opened.Data(sessionId, plaintexts.get(n), toPeer.get(n), position);
      } else {
        ControlKind kind = controls[n].getKind();
        byte[] answered = controls[n].getAnswered().toByteArray();
        opened = new Opened.Control(sessionId, kind, answered, toPeer.get(n), position);
      }
      results.add(new Result.Done<>(opened));
    }
    sparse(
        answer.getErrorsList(),
        ItemError::getIndex,
        (error, n) -> results.set(n, refused(pieces.get(n), NoisegateException.of(error))));
    return results;
  }

  private static Result<Opened> refused(Piece piece, NoisegateException error) {
    return Reason.isOfAPacket(error.reason())
        ? new Result.Done<>(new Opened.Refused(piece.sessionId().toByteArray(), error.reason()))
        : new Result.Failed<>(error);
  }

  /** Visits what only some items have; indexes are unsigned. */
  private <T> void sparse(List<T> values, ToIntFunction<T> index, ObjIntConsumer<T> visit) {
    for (T value : values) {
      int n = index.applyAsInt(value);
      if (n < 0 || n >= count) {
        throw NoisegateException.notWhole("items that were asked for");
      }
      visit.accept(value, n);
    }
  }

  private boolean[] marked(List<Integer> indexes) {
    boolean[] marks = new boolean[count];
    sparse(indexes, Integer::intValue, (index, n) -> marks[n] = true);
    return marks;
  }

  private List<List<byte[]>> messages(List<ItemMessages> values) {
    List<List<byte[]>> messages = new ArrayList<>(count);
    for (int n = 0; n < count; n++) {
      messages.add(List.of());
    }
    sparse(
        values,
        ItemMessages::getIndex,
        (each, n) -> messages.set(n, Records.bytesOf(each.getToPeerList())));
    return messages;
  }

  /** A value for each item, or none at all, which stands for zeros. */
  private void isColumn(List<?> values) {
    if (!values.isEmpty() && values.size() != count) {
      throw NoisegateException.notWhole("a result for each item");
    }
  }

  private static <T> T at(List<T> column, int n, T zero) {
    return column.isEmpty() ? zero : column.get(n);
  }

  /** Gives each item its bytes; lengths are unsigned. */
  private List<byte[]> cut(ByteString joined, List<Integer> lengths) {
    if (lengths.size() != count) {
      throw NoisegateException.notWhole("a length for each item");
    }
    List<byte[]> pieces = new ArrayList<>(count);
    int start = 0;
    for (int length : lengths) {
      if (length < 0 || length > joined.size() - start) {
        throw NoisegateException.notWhole("all bytes");
      }
      byte[] piece = length == 0 ? NONE : joined.substring(start, start + length).toByteArray();
      pieces.add(piece);
      start += length;
    }
    if (start < joined.size()) {
      throw NoisegateException.notWhole("no bytes beside");
    }
    return pieces;
  }
}
