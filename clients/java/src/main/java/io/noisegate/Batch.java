package io.noisegate;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import io.noisegate.Methods.Method;
import io.noisegate.Turns.Direction;
import io.noisegate.v1.BroadcastRequest;
import io.noisegate.v1.DecryptBatchRequest;
import io.noisegate.v1.EncryptBatchRequest;
import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportBatch;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiFunction;
import java.util.function.Supplier;

/** Many packets in few calls. */
final class Batch {
  private final Client client;
  private final Scope scope;

  /** Asks for some items of one endpoint. */
  private interface Ask<R> {
    CompletableFuture<List<Result<R>>> of(String endpoint, List<Piece> part);
  }

  Batch(Client client, Scope scope) {
    this.client = client;
    this.scope = scope;
  }

  CompletableFuture<List<Result<Sealed>>> encrypt(List<Item> items) {
    Supplier<String> sealId = sealId(items);
    return this.<Sealed>inParts(
            items,
            Direction.SENDING,
            (endpoint, part) -> {
              EncryptBatchRequest request = Packing.encrypting(part, sealId.get());
              return answer(endpoint, TransportBatch.newBuilder().setEncrypt(request).build())
                  .thenApply(answer -> Unpacking.sealed(answer.getEncrypt(), part.size()));
            })
        .thenApply(results -> handed(items, results, Session::handed));
  }

  CompletableFuture<List<Result<Opened>>> decrypt(List<Item> items) {
    return this.<Opened>inParts(
            items,
            Direction.RECEIVING,
            (endpoint, part) -> {
              DecryptBatchRequest request = Packing.decrypting(part, Calls.newRequestId());
              return answer(endpoint, TransportBatch.newBuilder().setDecrypt(request).build())
                  .thenApply(answer -> Unpacking.opened(answer.getDecrypt(), part));
            })
        .thenApply(
            results ->
                handed(
                    items,
                    results,
                    (session, opened) -> session.handed(session.noticeClose(opened))));
  }

  CompletableFuture<List<Result<Sealed>>> broadcast(
      List<Item> items, byte[] plaintext, byte[] associatedData) {
    Supplier<String> sealId = sealId(items);
    ByteString body = ByteString.copyFrom(plaintext);
    ByteString beside = ByteString.copyFrom(associatedData);
    return this.<Sealed>inParts(
            items,
            Direction.SENDING,
            (endpoint, part) -> {
              BroadcastRequest request =
                  BroadcastRequest.newBuilder()
                      .setSessionIds(
                          ByteString.copyFrom(part.stream().map(Piece::sessionId).toList()))
                      .setRequestId(sealId.get())
                      .setPlaintext(body)
                      .setAssociatedData(beside)
                      .build();
              return answer(endpoint, TransportBatch.newBuilder().setBroadcast(request).build())
                  .thenApply(answer -> Unpacking.sealed(answer.getBroadcast(), part.size()));
            })
        .thenApply(results -> handed(items, results, Session::handed));
  }

  /**
   * Asks for one batch: over the stream where packets travel together, else by a call of its own.
   */
  private CompletableFuture<TransportAnswer> answer(String endpoint, TransportBatch batch) {
    if (client.multiplexer != null) {
      return client.multiplexer.carry(scope, endpoint, batch);
    }
    TransportAnswer.Builder answer = TransportAnswer.newBuilder();
    return switch (batch.getBatchCase()) {
      case ENCRYPT ->
          ask(Methods.ENCRYPT_BATCH, endpoint, batch.getEncrypt())
              .thenApply(made -> answer.setEncrypt(made).build());
      case DECRYPT ->
          ask(Methods.DECRYPT_BATCH, endpoint, batch.getDecrypt())
              .thenApply(made -> answer.setDecrypt(made).build());
      default ->
          ask(Methods.BROADCAST, endpoint, batch.getBroadcast())
              .thenApply(made -> answer.setBroadcast(made).build());
    };
  }

  private <I extends Message, O extends Message> CompletableFuture<O> ask(
      Method<I, O> method, String endpoint, I request) {
    return client.calls.ask(scope, method, endpoint, request).thenApply(Calls.Answered::message);
  }

  /**
   * Makes the request_id of each batch to seal. On a stream DATAGRAM plaintexts have none, see
   * {@link Bundle.Kind#SEAL}.
   */
  private Supplier<String> sealId(List<Item> items) {
    boolean anew =
        client.multiplexer != null && items.stream().noneMatch(item -> item.session().takesTurns());
    return anew ? () -> "" : Calls::newRequestId;
  }

  /** Remembers lost sessions, and gives messages for players to onSend. */
  private static <R> List<Result<R>> handed(
      List<Item> items, List<Result<R>> results, BiFunction<Session, R, R> hand) {
    List<Result<R>> left = new ArrayList<>(results.size());
    for (int n = 0; n < results.size(); n++) {
      Session session = items.get(n).session();
      Result<R> result = results.get(n);
      if (result instanceof Result.Failed<R> failed) {
        session.notice(failed.error());
        left.add(result);
      } else {
        left.add(new Result.Done<>(hand.apply(session, result.get())));
      }
    }
    return Collections.unmodifiableList(left);
  }

  /**
   * Asks for all items, the endpoints side by side. What fits into no one call goes in several, one
   * after the other: parts may have items of the same session, whose order is kept.
   */
  private <R> CompletableFuture<List<Result<R>>> inParts(
      List<Item> items, Direction way, Ask<R> ask) {
    return takeTurns(items, way)
        .thenCompose(
            release ->
                Scope.begun(() -> asked(items, ask))
                    .whenComplete((results, error) -> release.run()))
        .exceptionally(
            error ->
                Collections.nCopies(items.size(), new Result.Failed<>(Scope.failureOf(error))));
  }

  private <R> CompletableFuture<List<Result<R>>> asked(List<Item> items, Ask<R> ask) {
    List<Result<R>> results = new ArrayList<>(Collections.nCopies(items.size(), null));
    List<Piece> pieces = new ArrayList<>(items.size());
    Map<String, List<Integer>> endpoints = new LinkedHashMap<>();
    for (int n = 0; n < items.size(); n++) {
      Item item = items.get(n);
      Piece piece = new Piece(item.session().idBytes(), item.body(), item.associatedData());
      pieces.add(piece);
      if (piece.sessionId().size() == Packing.SESSION_ID_BYTES) {
        endpoints.computeIfAbsent(item.session().endpoint(), endpoint -> new ArrayList<>()).add(n);
      } else {
        // An id of another length would shift those behind it.
        results.set(
            n,
            new Result.Failed<>(
                new IllegalArgumentException("a session in a batch has an id of 24 bytes")));
      }
    }
    List<CompletableFuture<Void>> all = new ArrayList<>(endpoints.size());
    endpoints.forEach(
        (endpoint, numbers) -> all.add(askFor(endpoint, pieces, numbers, results, ask)));
    return CompletableFuture.allOf(all.toArray(CompletableFuture[]::new))
        .thenApply(done -> results);
  }

  /** Asks for one endpoint's items, part after part. */
  private <R> CompletableFuture<Void> askFor(
      String endpoint,
      List<Piece> pieces,
      List<Integer> numbers,
      List<Result<R>> results,
      Ask<R> ask) {
    if (numbers.isEmpty()) {
      return CompletableFuture.completedFuture(null);
    }
    int size = fitting(pieces, numbers);
    List<Integer> part = numbers.subList(0, size);
    return Scope.begun(() -> ask.of(endpoint, part.stream().map(pieces::get).toList()))
        .exceptionally(
            error -> Collections.nCopies(size, new Result.Failed<>(Scope.failureOf(error))))
        .thenCompose(
            answered -> {
              for (int n = 0; n < size; n++) {
                results.set(part.get(n), answered.get(n));
              }
              List<Integer> rest = numbers.subList(size, numbers.size());
              return askFor(endpoint, pieces, rest, results, ask);
            });
  }

  /** How many of these items one call takes: at least one. */
  static int fitting(List<Piece> pieces, List<Integer> numbers) {
    long bytes = 0;
    for (int n = 0; n < numbers.size(); n++) {
      bytes += pieces.get(numbers.get(n)).size();
      if (n > 0 && (n == Packing.MAX_BATCH_ITEMS || bytes > Packing.MAX_BATCH_BYTES)) {
        return n;
      }
    }
    return numbers.size();
  }

  /**
   * Takes those of all sessions, in the order of their ids, so that two batches cannot wait for
   * each other.
   */
  private CompletableFuture<Runnable> takeTurns(List<Item> items, Direction way) {
    List<Session> sessions =
        items.stream()
            .map(Item::session)
            .filter(Session::takesTurns)
            .distinct()
            .sorted(
                Comparator.comparing(
                    Session::idBytes, ByteString.unsignedLexicographicalComparator()))
            .toList();
    CompletableFuture<Runnable> taken = CompletableFuture.completedFuture(() -> {});
    for (Session session : sessions) {
      taken =
          taken.thenCompose(
              before ->
                  session
                      .takeTurn(scope, way)
                      .whenComplete(
                          (release, error) -> {
                            if (error != null) {
                              before.run();
                            }
                          })
                      .thenApply(
                          release ->
                              () -> {
                                release.run();
                                before.run();
                              }));
    }
    return taken;
  }
}
