package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.noisegate.v1.EncryptBatchResponse;
import io.noisegate.v1.EncryptResponse;
import io.noisegate.v1.RecordMode;
import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportRefused;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class RepeatsTest {
  private static final byte[] SIX = {'s', 'i', 'x'};

  /** No deadline that a loaded machine could pass, and hardly any back-off. */
  private static final Policy PATIENT =
      new Policy(
          Duration.ofSeconds(20),
          Duration.ofSeconds(20),
          5,
          Duration.ofMillis(1),
          Duration.ofMillis(2));

  /** More attempts than the policy has for a service that is there. */
  private static final int A_RESTART = 9;

  /** How calls fail while an instance stops, is gone, and starts. */
  private static final List<StatusRuntimeException> AWAY =
      List.of(
          Status.UNAVAILABLE.asRuntimeException(),
          FakeService.refusal(Status.Code.UNAVAILABLE, Reason.DRAINING),
          Status.CANCELLED.asRuntimeException());

  private static Session datagram(Client client) {
    return client.session(new byte[Packing.SESSION_ID_BYTES], "", RecordMode.RECORD_MODE_DATAGRAM);
  }

  /** Refuses so many calls, and seals afterwards. */
  private static FakeService failing(
      AtomicInteger calls, int times, StatusRuntimeException refusal) {
    return FakeService.encrypting(
        request -> {
          if (calls.incrementAndGet() <= times) {
            throw refusal;
          }
          return EncryptResponse.newBuilder().setCiphertext(request.getPlaintext()).build();
        });
  }

  private static TransportAnswer sealedOne() {
    return TransportAnswer.newBuilder()
        .setEncrypt(
            EncryptBatchResponse.newBuilder()
                .setCiphertexts(ByteString.copyFrom(SIX))
                .addLengths(SIX.length))
        .build();
  }

  private static NoisegateException failureOf(Session session) {
    var failed = assertThrows(CompletionException.class, () -> session.encrypt(SIX).join());
    return assertInstanceOf(NoisegateException.class, failed.getCause());
  }

  @Test
  void aRepeatHasTheSameRequestIdAndAnotherCallAnother() {
    List<String> ids = new CopyOnWriteArrayList<>();
    try (var service =
            FakeService.encrypting(
                request -> {
                  ids.add(request.getRequestId());
                  if (ids.size() < 3) {
                    throw Status.UNAVAILABLE.asRuntimeException();
                  }
                  return EncryptResponse.getDefaultInstance();
                });
        var client = Client.to(service.target()).policy(PATIENT).connect()) {
      datagram(client).encrypt(SIX).join();
      assertEquals(3, ids.size());
      assertEquals(ids.get(0), ids.get(1));
      assertEquals(ids.get(1), ids.get(2));
      assertFalse(ids.get(0).isEmpty());
      datagram(client).encrypt(SIX).join();
      assertNotEquals(ids.get(0), ids.get(3));
    }
  }

  @Test
  void anInstanceThatIsAwayIsAskedUntilTheDeadline() {
    for (StatusRuntimeException refusal : AWAY) {
      AtomicInteger calls = new AtomicInteger();
      try (var service = failing(calls, A_RESTART, refusal);
          var client = Client.to(service.target()).policy(PATIENT).connect()) {
        assertArrayEquals(SIX, datagram(client).encrypt(SIX).join().packet());
        assertEquals(A_RESTART + 1, calls.get());
      }
    }
  }

  @Test
  void aServiceThatRefusesIsAskedABoundedNumberOfTimes() {
    AtomicInteger calls = new AtomicInteger();
    var overloaded = FakeService.refusal(Status.Code.UNAVAILABLE, Reason.OVERLOADED);
    try (var service = failing(calls, Integer.MAX_VALUE, overloaded);
        var client = Client.to(service.target()).policy(PATIENT).connect()) {
      assertEquals(Reason.OVERLOADED, failureOf(datagram(client)).reason());
      assertEquals(PATIENT.attempts(), calls.get());
    }
  }

  @Test
  void whoWantsNoRepeatsGetsNone() {
    for (StatusRuntimeException refusal : AWAY) {
      AtomicInteger calls = new AtomicInteger();
      try (var service = failing(calls, Integer.MAX_VALUE, refusal);
          var client = Client.to(service.target()).policy(PATIENT.withAttempts(1)).connect()) {
        assertEquals(refusal.getStatus().getCode(), failureOf(datagram(client)).code());
        assertEquals(1, calls.get());
      }
    }
  }

  @Test
  void theContextOfTheCallerBoundsItsCallsAndNoneThatFollow() throws Exception {
    AtomicInteger calls = new AtomicInteger();
    try (var service = failing(calls, 1, FakeService.refusal(Status.Code.INTERNAL, "INTERNAL"));
        var client = Client.to(service.target()).policy(PATIENT).connect()) {
      Session session = datagram(client);
      Context.CancellableContext ended = Context.ROOT.withCancellation();
      ended.cancel(null);
      assertEquals(Status.Code.CANCELLED, ended.call(() -> failureOf(session)).code());
      // What is chained to a call runs when that has ended, and must not end with it.
      var chained = session.encrypt(SIX).exceptionallyCompose(error -> session.encrypt(SIX));
      assertArrayEquals(SIX, chained.join().packet());
    }
  }

  @Test
  void aStreamToAnInstanceThatIsAwayIsOpenedUntilTheDeadline() {
    for (StatusRuntimeException refusal : AWAY) {
      AtomicInteger batches = new AtomicInteger();
      try (var service =
              FakeService.carrying(
                  batch -> {
                    if (batches.incrementAndGet() <= A_RESTART) {
                      throw refusal;
                    }
                    return sealedOne();
                  });
          var client =
              Client.to(service.target()).policy(PATIENT).multiplex(Multiplex.DEFAULT).connect()) {
        assertArrayEquals(SIX, datagram(client).encrypt(SIX).join().packet());
      }
    }
  }

  @Test
  void aBatchWhoseAnswerWasLostGoesAgain() {
    // DATAGRAM plaintexts are sealed anew; what must happen once has a request_id.
    for (RecordMode mode : List.of(RecordMode.RECORD_MODE_DATAGRAM, RecordMode.RECORD_MODE_NOISE)) {
      List<String> ids = new CopyOnWriteArrayList<>();
      try (var service =
              FakeService.carrying(
                  batch -> {
                    ids.add(batch.getEncrypt().getRequestId());
                    if (ids.size() == 1) {
                      throw Status.UNAVAILABLE.asRuntimeException();
                    }
                    return sealedOne();
                  });
          var client =
              Client.to(service.target()).policy(PATIENT).multiplex(Multiplex.DEFAULT).connect()) {
        Session session = client.session(new byte[Packing.SESSION_ID_BYTES], "", mode);
        var sealed = client.encryptBatch(List.of(new Item(session, SIX))).join();
        assertArrayEquals(SIX, sealed.get(0).get().packet());
        assertEquals(2, ids.size());
        assertEquals(ids.get(0), ids.get(1));
        assertEquals(mode == RecordMode.RECORD_MODE_DATAGRAM, ids.get(0).isEmpty());
      }
    }
  }

  @Test
  void aBatchThatIsRefusedGoesAgainWhereItMayBeLuckier() {
    AtomicInteger batches = new AtomicInteger();
    try (var service =
            FakeService.carrying(
                batch -> {
                  boolean first = batches.incrementAndGet() == 1;
                  Status.Code code = first ? Status.Code.UNAVAILABLE : Status.Code.INVALID_ARGUMENT;
                  String reason = first ? Reason.OVERLOADED : Reason.INVALID_REQUEST;
                  return TransportAnswer.newBuilder()
                      .setRefused(
                          TransportRefused.newBuilder()
                              .setCode(code.value())
                              .setStatus(FakeService.status(code, reason).toByteString()))
                      .build();
                });
        var client =
            Client.to(service.target()).policy(PATIENT).multiplex(Multiplex.DEFAULT).connect()) {
      List<Session> room = List.of(datagram(client), datagram(client));
      for (Result<Sealed> sealed : client.broadcast(room, SIX, new byte[0]).join()) {
        var refused = assertThrows(NoisegateException.class, sealed::get);
        assertEquals(Reason.INVALID_REQUEST, refused.reason());
      }
      assertEquals(2, batches.get());
    }
  }

  @Test
  void eachCallAndStreamHasItsTokenAndEachCallItsTrace() {
    AtomicInteger asked = new AtomicInteger();
    try (var service = FakeService.encrypting(request -> EncryptResponse.getDefaultInstance());
        var streams = FakeService.carrying(batch -> sealedOne())) {
      for (FakeService each : List.of(service, streams)) {
        ClientBuilder builder =
            Client.to(each.target())
                .policy(PATIENT)
                .token(() -> "token " + asked.incrementAndGet())
                .inject(headers -> headers.put("traceparent", "00-trace"));
        try (var client =
            each == streams ? builder.multiplex(Multiplex.DEFAULT).connect() : builder.connect()) {
          datagram(client).encrypt(SIX).join();
        }
      }
      assertEquals(List.of("Bearer token 1"), service.tokens);
      assertEquals(List.of("Bearer token 2"), streams.tokens);
      assertEquals(List.of("00-trace"), service.traces);
      assertTrue(streams.traces.contains("null"));
    }
  }
}
