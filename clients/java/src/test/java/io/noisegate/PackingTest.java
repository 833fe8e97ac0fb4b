package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.noisegate.v1.ControlKind;
import io.noisegate.v1.DecryptBatchResponse;
import io.noisegate.v1.EncryptBatchRequest;
import io.noisegate.v1.ErrorReason;
import io.noisegate.v1.ItemControl;
import io.noisegate.v1.ItemError;
import io.noisegate.v1.ItemMessages;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PackingTest {
  private static ByteString id(int number) {
    byte[] id = new byte[Packing.SESSION_ID_BYTES];
    id[0] = (byte) number;
    return ByteString.copyFrom(id);
  }

  private static Piece piece(int session, String body, String associatedData) {
    return new Piece(id(session), bytes(body), bytes(associatedData));
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static List<Piece> pieces(int count) {
    return IntStream.range(0, count).mapToObj(n -> piece(n, "", "")).toList();
  }

  @Test
  void neighboursOfOneSessionStandUnderOneId() {
    EncryptBatchRequest request =
        Packing.encrypting(
            List.of(piece(1, "a", ""), piece(1, "", "ad"), piece(2, "bc", ""), piece(1, "d", "")),
            "id");
    assertEquals(id(1).concat(id(2)).concat(id(1)), request.getSessionIds());
    assertEquals(List.of(2, 1, 1), request.getCountsList());
    assertEquals(List.of(1, 0, 2, 1), request.getLengthsList());
    assertEquals("abcd", request.getPlaintexts().toStringUtf8());
    assertEquals(List.of(0, 2, 0, 0), request.getAssociatedDataLengthsList());
    assertEquals("ad", request.getAssociatedData().toStringUtf8());
  }

  @Test
  void whatAllHaveAlikeIsLeftOut() {
    Packing packing = Packing.of(pieces(2));
    assertEquals(List.of(), packing.counts());
    assertEquals(List.of(), packing.associatedDataLengths());
  }

  @Test
  void eachItemGetsItsResult() {
    DecryptBatchResponse answer =
        DecryptBatchResponse.newBuilder()
            .setPlaintexts(ByteString.copyFromUtf8("hi"))
            .addAllLengths(List.of(2, 0, 0, 0))
            .addAllCounters(List.of(7L, 0L, 0L, 0L))
            .setNewest(ByteString.copyFrom(new byte[] {1, 0, 0, 0}))
            .addEarly(0)
            .addRotationDue(0)
            .addControls(
                ItemControl.newBuilder()
                    .setIndex(1)
                    .setKind(ControlKind.CONTROL_KIND_KEEP_ALIVE)
                    .setAnswered(ByteString.copyFromUtf8("token")))
            .addToPeer(
                ItemMessages.newBuilder().setIndex(1).addToPeer(ByteString.copyFromUtf8("pong")))
            .addErrors(
                ItemError.newBuilder()
                    .setIndex(2)
                    .setCode(3)
                    .setReason(ErrorReason.ERROR_REASON_DECRYPT_FAILED))
            .addErrors(
                ItemError.newBuilder()
                    .setIndex(3)
                    .setCode(5)
                    .setReason(ErrorReason.ERROR_REASON_SESSION_NOT_FOUND))
            .build();
    List<Result<Opened>> results = Unpacking.opened(answer, pieces(4));
    var data = assertInstanceOf(Opened.Data.class, results.get(0).get());
    assertArrayEquals(bytes("hi"), data.plaintext());
    assertEquals(new Opened.Position(7, 0, true, true, true), data.position());
    var control = assertInstanceOf(Opened.Control.class, results.get(1).get());
    assertArrayEquals(bytes("token"), control.answered());
    assertArrayEquals(bytes("pong"), control.toPeer().get(0));
    var refused = assertInstanceOf(Opened.Refused.class, results.get(2).get());
    assertEquals(Reason.DECRYPT_FAILED, refused.reason());
    assertThrows(ResumeNeededException.class, () -> results.get(3).get());
  }

  @Test
  void anAnswerThatIsNotWholeIsAnError() {
    DecryptBatchResponse whole =
        DecryptBatchResponse.newBuilder()
            .setPlaintexts(ByteString.copyFromUtf8("ab"))
            .addAllLengths(List.of(1, 1))
            .build();
    assertEquals(2, Unpacking.opened(whole, pieces(2)).size());
    List<UnaryOperator<DecryptBatchResponse.Builder>> spoilt =
        List.of(
            answer -> answer.clearLengths().addLengths(2),
            answer -> answer.setLengths(1, 2),
            answer -> answer.setLengths(1, 0),
            answer -> answer.setLengths(0, -1),
            answer -> answer.setLengths(0, Integer.MAX_VALUE),
            answer -> answer.addCounters(1),
            answer -> answer.setNewest(ByteString.copyFrom(new byte[3])),
            answer -> answer.addErrors(ItemError.newBuilder().setIndex(2)),
            answer -> answer.addEarly(-1));
    for (UnaryOperator<DecryptBatchResponse.Builder> spoil : spoilt) {
      DecryptBatchResponse answer = spoil.apply(whole.toBuilder()).build();
      assertThrows(NoisegateException.class, () -> Unpacking.opened(answer, pieces(2)));
    }
  }

  @Test
  void aCallTakesAtMostItsLimits() {
    List<Piece> pieces = new ArrayList<>(pieces(Packing.MAX_BATCH_ITEMS + 1));
    List<Integer> numbers = IntStream.range(0, pieces.size()).boxed().toList();
    assertEquals(Packing.MAX_BATCH_ITEMS, Batch.fitting(pieces, numbers));
    pieces.set(0, new Piece(id(0), new byte[Packing.MAX_BATCH_BYTES - 1], new byte[0]));
    pieces.set(1, new Piece(id(1), new byte[0], new byte[1]));
    pieces.set(2, new Piece(id(2), new byte[1], new byte[0]));
    assertEquals(2, Batch.fitting(pieces, numbers));
    // The service refuses it, and says why.
    pieces.set(0, new Piece(id(0), new byte[Packing.MAX_BATCH_BYTES + 1], new byte[0]));
    assertEquals(1, Batch.fitting(pieces, numbers));
    assertTrue(Batch.fitting(pieces, Collections.emptyList()) == 0);
  }
}
