package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.DecryptResponse;
import io.noisegate.v1.EncryptResponse;
import java.util.List;

/** The contract's answers as the SDK hands them out. */
final class Records {
  private Records() {}

  static List<byte[]> bytesOf(List<ByteString> messages) {
    return messages.stream().map(ByteString::toByteArray).toList();
  }

  static Sealed sealed(EncryptResponse answer) {
    return new Sealed(
        answer.getCiphertext().toByteArray(),
        bytesOf(answer.getToPeerList()),
        answer.getCounter(),
        answer.getEpoch(),
        answer.getRotationDue());
  }

  /** A content of a later contract reads as a control record that the game may ignore. */
  static Opened opened(DecryptResponse answer) {
    byte[] sessionId = answer.getSessionId().toByteArray();
    List<byte[]> toPeer = bytesOf(answer.getToPeerList());
    Opened.Position position =
        new Opened.Position(
            answer.getCounter(),
            answer.getEpoch(),
            answer.getEarly(),
            answer.getNewest(),
            answer.getRotationDue());
    if (answer.hasPlaintext()) {
      return new Opened.Data(sessionId, answer.getPlaintext().toByteArray(), toPeer, position);
    }
    byte[] answered = answer.getControl().getAnswered().toByteArray();
    return new Opened.Control(sessionId, answer.getControl().getKind(), answered, toPeer, position);
  }

  /** The refusal of a packet as what became of it; throws every other one. */
  static Opened refused(byte[] sessionId, RuntimeException error) {
    if (error instanceof NoisegateException refused && Reason.isOfAPacket(refused.reason())) {
      return new Opened.Refused(sessionId, refused.reason());
    }
    throw error;
  }

  static List<byte[]> toPeer(Opened opened) {
    return opened instanceof Opened.Opening record ? record.toPeer() : List.of();
  }

  static Sealed withoutToPeer(Sealed sealed) {
    return new Sealed(
        sealed.packet(), List.of(), sealed.counter(), sealed.epoch(), sealed.rotationDue());
  }

  static Opened withoutToPeer(Opened opened) {
    if (opened instanceof Opened.Data data) {
      return new Opened.Data(data.sessionId(), data.plaintext(), List.of(), data.position());
    }
    if (opened instanceof Opened.Control control) {
      return new Opened.Control(
          control.sessionId(), control.kind(), control.answered(), List.of(), control.position());
    }
    return opened;
  }
}
