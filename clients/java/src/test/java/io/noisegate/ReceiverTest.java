package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.noisegate.v1.Established;
import io.noisegate.v1.NetworkChange;
import io.noisegate.v1.RecordMode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Without a service, on a clock that stands still. */
class ReceiverTest {
  private final Client client = Client.connect("127.0.0.1:1");
  private final AtomicLong now = new AtomicLong();

  @AfterEach
  void close() {
    client.close();
  }

  private Receiver<String> receiver(int limit) {
    ReceiverOptions<String> options = ReceiverOptions.defaults();
    return new Receiver<>(client, options.withMaxSessions(limit).withClock(now::get));
  }

  /** The handle of a session: live, or half-open for ten seconds. */
  private Session handle(int number, boolean live) {
    Facts facts = Facts.beginning(RecordMode.RECORD_MODE_DATAGRAM, "", "");
    byte[] id = new byte[Packing.SESSION_ID_BYTES];
    id[0] = (byte) number;
    facts.id = ByteString.copyFrom(id);
    facts.connectionId = ByteString.copyFrom(new byte[] {(byte) number, 2, 3, 4, 5, 6, 7, 8});
    facts.pendingFor = Duration.ofSeconds(10);
    facts.established = live ? Established.getDefaultInstance() : null;
    return new Session(client, facts);
  }

  private static boolean knows(Receiver<String> receiver, Session session) {
    return receiver.address(session).isPresent();
  }

  @Test
  void aFloodOfBeginnersPushesOutNobodyWhoPlays() {
    Receiver<String> receiver = receiver(3);
    Session plays = handle(1, true);
    receiver.add(plays, "home", true);
    for (int n = 10; n < 30; n++) {
      receiver.add(handle(n, false), "stranger", false);
    }
    assertTrue(knows(receiver, plays));
    assertEquals(4, receiver.sessions.size());
  }

  @Test
  void theLongestUnusedGivesWay() {
    Receiver<String> receiver = receiver(2);
    List<Session> sessions = List.of(handle(1, true), handle(2, true), handle(3, true));
    receiver.add(sessions.get(0), "a", true);
    receiver.add(sessions.get(1), "b", true);
    receiver.sessions.find(Packet.longAt(sessions.get(0).connectionId(), 0));
    receiver.add(sessions.get(2), "c", true);
    assertTrue(knows(receiver, sessions.get(0)));
    assertFalse(knows(receiver, sessions.get(1)));
    assertTrue(knows(receiver, sessions.get(2)));
  }

  @Test
  void aHandshakeThatNobodyFinishedIsForgotten() {
    Receiver<String> receiver = receiver(8);
    Session begun = handle(1, false);
    receiver.add(begun, "a", false);
    now.addAndGet(Duration.ofSeconds(10).toNanos() - 1);
    // Any packet lets it look; this one is of nobody, and of a type that reaches no service.
    byte[] packet = "\u000econnect!".getBytes(StandardCharsets.UTF_8);
    receiver.receive(packet, "b").join();
    assertTrue(knows(receiver, begun));
    now.addAndGet(1);
    assertEquals(Reason.UNEXPECTED_PACKET, receiver.receive(packet, "b").join().refused());
    assertFalse(knows(receiver, begun));
  }

  @Test
  void messagesGoWhereTheyMayAndAsLargeAsThePathTakes() {
    Receiver<String> receiver = receiver(8);
    Session session = handle(1, true);
    List<byte[]> small = List.of(PacketTest.record(40));
    assertEquals(List.of(), receiver.route(session, small), "it is not known");
    receiver.add(session, "here", false);
    assertEquals(List.of(), receiver.route(session, small), "nothing came from there yet");
    receiver.markVerified(session, "elsewhere");
    assertFalse(receiver.isVerified(session));
    receiver.markVerified(session, "here");
    var datagrams =
        receiver.route(session, List.of(PacketTest.record(40), PacketTest.record(3_000)));
    assertEquals(4, datagrams.size());
    for (Datagram<String> datagram : datagrams) {
      assertEquals("here", datagram.address());
      assertTrue(datagram.bytes().length <= Fragments.DEFAULT_MTU);
    }
    receiver.forget(session);
    assertFalse(knows(receiver, session));
  }

  @Test
  void aQuestionGoesToOneAddressAndItsAnswerProvesIt() {
    Receiver<String> receiver = receiver(8);
    Session session = handle(1, true);
    receiver.add(session, "here", false);
    PlayerPath<String> path = receiver.sessions.get(session).path;
    path.cameFrom("here", 100);
    ByteString question = ByteString.copyFromUtf8("question");
    NetworkChange change =
        NetworkChange.newBuilder()
            .addToPeer(ByteString.copyFrom(PacketTest.record(60)))
            .setToken(question)
            .build();
    assertEquals(1, receiver.routeChange(session, change).size());
    path.answered("here", question);
    assertTrue(receiver.isVerified(session));
  }

  @Test
  void whoIsNotAdmittedReachesNoService() {
    ReceiverOptions<String> options = ReceiverOptions.defaults();
    var receiver = new Receiver<>(client, options.withAdmit((packet, source) -> null));
    for (int first : new int[] {0x09, 0x0c}) { // HANDSHAKE and RESUME, step 1
      byte[] packet = {(byte) first, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'h', 'i'};
      assertEquals(Reason.NOT_ADMITTED, receiver.receive(packet, "a").join().refused());
    }
  }
}
