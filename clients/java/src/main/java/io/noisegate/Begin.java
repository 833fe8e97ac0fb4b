package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.*;
import java.util.concurrent.CompletableFuture;

/** How sessions begin, go on to the end of their handshake, or come back. */
final class Begin {
  private Begin() {}

  /** Runs the first step of a handshake. Fails with RetryNeededException. */
  static CompletableFuture<Session> shake(
      Client client, Scope scope, HandshakeRequest.Builder step, Facts begun) {
    HandshakeRequest request = step.setRequestId(Calls.newRequestId()).build();
    return client
        .calls
        .ask(scope, Methods.HANDSHAKE, begun.endpoint, request)
        .thenApply(
            answered -> {
              HandshakeResponse answer = answered.message();
              if (answer.hasRetry()) {
                throw new RetryNeededException(
                    answer.getRetry().getReason(), Records.bytesOf(answer.getToPeerList()));
              }
              begun.shaken(answer, answered.endpoint());
              return new Session(client, begun);
            });
  }

  /** Runs the first step of a resume. Fails with RetryNeededException. */
  static CompletableFuture<Session> resume(
      Client client, Scope scope, ResumeRequest.Builder step, Facts begun) {
    ResumeRequest request = step.setRequestId(Calls.newRequestId()).build();
    begun.resuming = true;
    return client
        .calls
        .ask(scope, Methods.RESUME, begun.endpoint, request)
        .thenApply(
            answered -> {
              ResumeResponse answer = answered.message();
              if (answer.hasRetry()) {
                throw new RetryNeededException(
                    answer.getRetry().getReason(), Records.bytesOf(answer.getToPeerList()));
              }
              begun.resumed(answer, answered.endpoint());
              return new Session(client, begun);
            });
  }

  /** Hands over a player's next message; leaves toPeer to its caller. */
  static CompletableFuture<Void> proceed(
      Session session, Scope scope, byte[] message, byte[] payload) {
    return session.inTurn(
        scope,
        Turns.BOTH,
        () -> {
          ByteString bytes = ByteString.copyFrom(message);
          if (session.known(facts -> facts.resuming)) {
            ProceedResume step =
                ProceedResume.newBuilder()
                    .setSessionId(session.idBytes())
                    .setMessage(bytes)
                    .build();
            ResumeRequest request =
                ResumeRequest.newBuilder()
                    .setRequestId(Calls.newRequestId())
                    .setProceed(step)
                    .build();
            return session
                .ask(scope, Methods.RESUME, request)
                .thenAccept(
                    answer -> session.change(facts -> facts.resumed(answer, facts.endpoint)));
          }
          ProceedHandshake step =
              ProceedHandshake.newBuilder()
                  .setSessionId(session.idBytes())
                  .setMessage(bytes)
                  .setPayload(ByteString.copyFrom(payload))
                  .build();
          HandshakeRequest request =
              HandshakeRequest.newBuilder()
                  .setRequestId(Calls.newRequestId())
                  .setProceed(step)
                  .build();
          return session
              .ask(scope, Methods.HANDSHAKE, request)
              .thenAccept(answer -> session.change(facts -> facts.shaken(answer, facts.endpoint)));
        });
  }

  static CompletableFuture<Session> restore(
      Client client, Scope scope, String endpoint, RestoreSessionRequest source) {
    RestoreSessionRequest request = source.toBuilder().setRequestId(Calls.newRequestId()).build();
    return client
        .calls
        .ask(scope, Methods.RESTORE_SESSION, endpoint, request)
        .thenApply(
            answered -> {
              Facts facts = Facts.of(answered.message().getSession());
              facts.endpoint = facts.endpoint.isEmpty() ? answered.endpoint() : facts.endpoint;
              facts.toPeer = Records.bytesOf(answered.message().getToPeerList());
              return new Session(client, facts);
            });
  }

  /** A session, and what one of its records was. */
  record Found(Session session, Opened opened) {}

  /** Opens a DATAGRAM record whose session the service finds by its connection id. */
  static CompletableFuture<Found> findAndDecrypt(Client client, Scope scope, byte[] packet) {
    DecryptRequest request =
        DecryptRequest.newBuilder()
            .setRequestId(Calls.newRequestId())
            .setCiphertext(ByteString.copyFrom(packet))
            .build();
    return client
        .calls
        .ask(scope, Methods.DECRYPT, "", request)
        .thenApply(
            answered -> {
              Opened opened = Records.opened(answered.message());
              Session session =
                  client.session(
                      opened.sessionId(), answered.endpoint(), RecordMode.RECORD_MODE_DATAGRAM);
              return new Found(session, session.noticeClose(opened));
            });
  }

  /** Hands over a DATAGRAM packet of step 2 or 3 whose session the service finds. */
  static CompletableFuture<Session> findAndProceed(
      Client client, Scope scope, byte[] packet, boolean resuming) {
    ByteString message = ByteString.copyFrom(packet);
    Facts begun = Facts.beginning(RecordMode.RECORD_MODE_DATAGRAM, "", "");
    if (resuming) {
      ProceedResume step = ProceedResume.newBuilder().setMessage(message).build();
      return resume(client, scope, ResumeRequest.newBuilder().setProceed(step), begun);
    }
    ProceedHandshake step = ProceedHandshake.newBuilder().setMessage(message).build();
    return shake(client, scope, HandshakeRequest.newBuilder().setProceed(step), begun);
  }
}
