package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import io.noisegate.testing.NoisegateExtension;
import io.noisegate.v1.InitiateHandshake;
import io.noisegate.v1.ListSessionsRequest;
import io.noisegate.v1.Pattern;
import io.noisegate.v1.Protocol;
import io.noisegate.v1.RecordMode;
import io.noisegate.v1.RespondHandshake;
import io.noisegate.v1.Suite;
import io.noisegate.v1.WatchSessionsRequest;
import io.noisegate.v1.WatchSessionsResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** One service for all, since each start costs the better part of a second. */
@Timeout(60)
class ClientTest {
  @RegisterExtension static final NoisegateExtension noisegate = new NoisegateExtension();

  /** No deadline that a loaded machine could pass. */
  private static final Policy PATIENT =
      Policy.DEFAULT
          .withPacketDeadline(Duration.ofSeconds(20))
          .withControlDeadline(Duration.ofSeconds(20));

  private static final Protocol PROTOCOL =
      Protocol.newBuilder()
          .setPattern(Pattern.PATTERN_XX)
          .setSuite(Suite.SUITE_CHACHA20_POLY1305_X25519)
          .build();
  private static final InitiateHandshake TO_ANN =
      InitiateHandshake.newBuilder()
          .setMode(RecordMode.RECORD_MODE_NOISE)
          .setProtocol(PROTOCOL)
          .setPeerId("ann")
          .build();

  private static ClientBuilder patient() {
    return Client.to(noisegate.target()).policy(PATIENT);
  }

  private static Session unknown(Client client, RecordMode mode) {
    return client.session(new byte[Packing.SESSION_ID_BYTES], "", mode);
  }

  private static <E extends Throwable> E failure(Class<E> kind, CompletableFuture<?> call) {
    return assertInstanceOf(kind, assertThrows(CompletionException.class, call::join).getCause());
  }

  @Test
  void capabilitiesNameTheStaticKey() {
    try (var client = patient().connect()) {
      assertEquals(32, client.capabilities().join().getStaticKey().size());
    }
  }

  @Test
  void aRefusalHasItsCodeAndReason() {
    try (var client = patient().connect()) {
      RespondHandshake step =
          RespondHandshake.newBuilder()
              .setMode(RecordMode.RECORD_MODE_NOISE)
              .setProtocol(PROTOCOL)
              .setMessage(ByteString.copyFromUtf8("no handshake"))
              .build();
      NoisegateException refused = failure(NoisegateException.class, client.respond(step));
      assertEquals(Status.Code.INVALID_ARGUMENT, refused.code());
      assertEquals(Reason.HANDSHAKE_FAILED, refused.reason());
    }
  }

  @Test
  void aSessionThatIsUnknownNeedsAResumeAndItsHandleKnowsThatItIsOver() {
    try (var client = patient().connect();
        var session = unknown(client, RecordMode.RECORD_MODE_NOISE)) {
      failure(ResumeNeededException.class, session.encrypt(new byte[0]));
      assertTrue(session.ended());
      assertEquals("noisegate session (ended)", session.toString());
    }
  }

  @Test
  void whatIsForThePlayerGoesToOnSendAlone() {
    List<byte[]> sent = new ArrayList<>();
    try (var client =
            patient()
                .onSend(
                    (session, messages) -> {
                      if (session.peerId().equals("ann")) {
                        sent.addAll(messages);
                      }
                    })
                .connect();
        var session = client.initiate(TO_ANN).join()) {
      assertEquals(32, sent.get(0).length);
      assertEquals(List.of(), session.toPeer());
    }
  }

  @Test
  void aSessionLivesAtAnEndpointAndListingFindsIt() {
    try (var client = patient().connect();
        var session = client.initiate(TO_ANN).join()) {
      assertEquals(noisegate.target(), session.endpoint());
      var request = ListSessionsRequest.newBuilder().setPeerId("ann").setPageSize(1).build();
      long found =
          client
              .sessions("", request)
              .filter(each -> each.getSessionId().equals(session.idBytes()))
              .count();
      assertEquals(1, found);
      session.end().join();
      assertTrue(session.ended());
    }
  }

  @Test
  void aWatchBeginsWithWatchingAndEndsWhenItIsClosed() {
    try (var client = patient().connect()) {
      CompletableFuture<WatchSessionsResponse> first = new CompletableFuture<>();
      Watch watch = client.watch("", WatchSessionsRequest.getDefaultInstance(), first::complete);
      assertTrue(first.join().hasWatching());
      watch.close();
      watch.ended().join();
    }
  }

  @Test
  void itemsOfABatchFailOneByOne() {
    for (ClientBuilder builder : List.of(patient(), patient().multiplex(Multiplex.DEFAULT))) {
      try (var client = builder.connect();
          var session = client.initiate(TO_ANN).join()) {
        var results =
            client
                .encryptBatch(
                    List.of(
                        new Item(session, new byte[5]),
                        new Item(unknown(client, RecordMode.RECORD_MODE_DATAGRAM), new byte[5])))
                .join();
        var early = assertThrows(NoisegateException.class, results.get(0)::get);
        assertEquals(Reason.NOT_ESTABLISHED, early.reason());
        assertThrows(ResumeNeededException.class, results.get(1)::get);
      }
    }
  }

  @Test
  void aClosedClientSaysSo() {
    for (ClientBuilder builder : List.of(patient(), patient().multiplex(Multiplex.DEFAULT))) {
      Client client = builder.connect();
      Session session = unknown(client, RecordMode.RECORD_MODE_DATAGRAM);
      failure(ResumeNeededException.class, session.encrypt(new byte[0]));
      client.close();
      failure(ClientClosedException.class, session.encrypt(new byte[0]));
    }
  }

  @Test
  void aCallThatIsCancelledInItsQueueLeavesTheQueueAsItWas() {
    try (var client = patient().connect()) {
      Session session = unknown(client, RecordMode.RECORD_MODE_NOISE);
      List<CompletableFuture<Sealed>> calls = new ArrayList<>();
      for (int n = 0; n < 50; n++) {
        calls.add(session.encrypt(new byte[0]));
      }
      for (int n = 1; n < calls.size(); n += 2) {
        calls.get(n).cancel(true);
        assertThrows(CancellationException.class, calls.get(n)::join);
      }
      for (int n = 0; n < calls.size(); n += 2) {
        failure(ResumeNeededException.class, calls.get(n));
      }
    }
  }

  @Test
  void plaintextStaysOnThisMachine() {
    for (String far :
        List.of("10.0.0.1:1", "example.com:1", "localhost.example:1", "[::2]:1", "noisegate")) {
      assertThrows(InsecureTargetException.class, () -> Client.connect(far));
    }
    // A token is good for whoever reads it, even in a network that is trusted.
    ClientBuilder token = Client.to("10.0.0.2:1").insecure().token(() -> "secret");
    assertEquals(
        "10.0.0.2:1", assertThrows(InsecureTargetException.class, token::connect).target());
    for (String near : List.of("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/noisegate")) {
      Client.to(near).token(() -> "secret").connect().close();
    }
    Client.to("10.0.0.1:1").insecure().connect().close();
  }

  @Test
  void aPacketDoesNotWaitForAServerAndAControlCallDoes() {
    // Nobody listens there.
    Policy policy = PATIENT.withAttempts(1).withControlDeadline(Duration.ofMillis(50));
    try (var client = Client.to("127.0.0.1:1").policy(policy).connect()) {
      Session session = unknown(client, RecordMode.RECORD_MODE_DATAGRAM);
      var packet = failure(NoisegateException.class, session.encrypt(new byte[0]));
      assertEquals(Status.Code.UNAVAILABLE, packet.code());
      var control = failure(NoisegateException.class, client.capabilities());
      assertEquals(Status.Code.DEADLINE_EXCEEDED, control.code());
    }
  }
}
