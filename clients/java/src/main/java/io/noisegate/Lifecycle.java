package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.Turns.Direction;
import io.noisegate.v1.*;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** What changes a session's keys, sends it away, brings it back or ends it. */
final class Lifecycle {
  private static final List<Direction> SENDING = List.of(Direction.SENDING);
  private static final List<Direction> RECEIVING = List.of(Direction.RECEIVING);

  private Lifecycle() {}

  static CompletableFuture<RotateResponse> rotate(
      Session session, Scope scope, RotateRequest request) {
    return session
        .inTurn(
            scope,
            directionsOf(request),
            () -> {
              RotateRequest whole =
                  request.toBuilder()
                      .setSessionId(session.idBytes())
                      .setRequestId(Calls.newRequestId())
                      .build();
              return session.ask(scope, Methods.ROTATE, whole);
            })
        .thenApply(
            answer -> {
              boolean travels = session.mode() == RecordMode.RECORD_MODE_DATAGRAM;
              boolean handed = travels && session.hand(Records.bytesOf(answer.getToPeerList()));
              return handed ? answer.toBuilder().clearToPeer().build() : answer;
            });
  }

  private static List<Direction> directionsOf(RotateRequest request) {
    if (request.getKind() != RotationKind.ROTATION_KIND_REKEY) {
      return Turns.BOTH;
    }
    return switch (request.getDirection()) {
      case DIRECTION_SEND -> SENDING;
      case DIRECTION_RECEIVE -> RECEIVING;
      default -> Turns.BOTH;
    };
  }

  static CompletableFuture<IssueTicketResponse> issueTicket(Session session, Scope scope) {
    return session
        .inTurn(
            scope,
            SENDING,
            () -> {
              IssueTicketRequest request =
                  IssueTicketRequest.newBuilder()
                      .setSessionId(session.idBytes())
                      .setRequestId(Calls.newRequestId())
                      .build();
              return session.ask(scope, Methods.ISSUE_TICKET, request);
            })
        .thenApply(
            answer ->
                session.hand(Records.bytesOf(answer.getToPeerList()))
                    ? answer.toBuilder().clearToPeer().build()
                    : answer);
  }

  static CompletableFuture<byte[]> exportSecret(
      Session session, Scope scope, String label, byte[] context, int length) {
    ExportSecretRequest request =
        ExportSecretRequest.newBuilder()
            .setSessionId(session.idBytes())
            .setLabel(label)
            .setContext(ByteString.copyFrom(context))
            .setLength(length)
            .build();
    return session
        .ask(scope, Methods.EXPORT_SECRET, request)
        .thenApply(answer -> answer.getSecret().toByteArray());
  }

  static CompletableFuture<SuspendSessionResponse> suspend(
      Session session, Scope scope, boolean returnBlob) {
    return session.inTurn(
        scope,
        Turns.BOTH,
        () -> {
          SuspendSessionRequest request =
              SuspendSessionRequest.newBuilder()
                  .setSessionId(session.idBytes())
                  .setRequestId(Calls.newRequestId())
                  .setReturnBlob(returnBlob)
                  .build();
          return session.ask(scope, Methods.SUSPEND_SESSION, request);
        });
  }

  static CompletableFuture<NetworkChange> changeNetwork(
      Session session, Scope scope, Network network) {
    return session
        .inTurn(
            scope,
            Turns.BOTH,
            () -> {
              ChangeNetworkRequest request =
                  ChangeNetworkRequest.newBuilder()
                      .setRequestId(Calls.newRequestId())
                      .setNetwork(network)
                      .setSessionId(session.idBytes())
                      .build();
              return session.ask(scope, Methods.CHANGE_NETWORK, request);
            })
        .thenApply(
            answer -> {
              if (answer.getChangesCount() != 1) {
                throw NoisegateException.notWhole("one change for one session");
              }
              NetworkChange change = answer.getChanges(0);
              if (!change.getConnectionId().isEmpty()) {
                session.change(facts -> facts.connectionId = change.getConnectionId());
              }
              return change;
            });
  }

  static CompletableFuture<List<byte[]>> end(Session session, Scope scope) {
    if (session.ended()) {
      return CompletableFuture.completedFuture(List.of());
    }
    CloseSessionRequest request =
        CloseSessionRequest.newBuilder()
            .setSessionId(session.idBytes())
            .setRequestId(Calls.newRequestId())
            .build();
    return session
        .ask(scope, Methods.CLOSE_SESSION, request)
        .exceptionally(
            error -> {
              RuntimeException failure = Scope.failureOf(error);
              if (failure instanceof ResumeNeededException) {
                return CloseSessionResponse.getDefaultInstance();
              }
              throw failure;
            })
        .thenApply(
            answer -> {
              session.change(
                  facts -> {
                    facts.ended = true;
                    facts.toPeer = Records.bytesOf(answer.getToPeerList());
                  });
              return session.sendToPeer();
            });
  }
}
