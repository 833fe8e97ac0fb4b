package io.noisegate;

import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportBatch;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * One batch of the stream, from its first call to its answer. It is guarded by its line until a
 * link has taken it, and belongs to that link then.
 */
final class Bundle {
  /** What may stand together in one batch. */
  enum Kind {
    /**
     * DATAGRAM: whoever seals again gets another counter, so a repeat needs no request_id and
     * nothing kept for it.
     */
    SEAL,
    /** NOISE: the counter travels with nobody. Sealed once, by a request_id. */
    SEAL_IN_TURN,
    /** Opened once, by a request_id; a second time it would be a replay. */
    OPEN,
    /** A batch that was one call from the beginning. Nothing is added to it. */
    COMPLETE
  }

  /** One call that waits for its result: a Sealed, an Opened, or the answer to a whole batch. */
  static final class Waiting {
    final Piece piece;
    final CompletableFuture<Object> result = new CompletableFuture<>();

    /** Why the last attempt was in vain. */
    volatile NoisegateException refused;

    Waiting(Piece piece) {
      this.piece = piece;
    }

    /** Nobody waits any more. */
    boolean isGone() {
      return result.isDone();
    }

    private void settle(Result<?> settled) {
      if (settled instanceof Result.Failed<?> failed) {
        result.completeExceptionally(failed.error());
      } else {
        result.complete(settled.get());
      }
    }
  }

  final Kind kind;
  final List<Waiting> calls = new ArrayList<>();
  int size;

  /** It goes as soon as a link takes it, and grows until then. */
  boolean due;

  /** As the policy counts them. */
  int attempts;

  private TransportBatch body;

  Bundle(Kind kind) {
    this.kind = kind;
  }

  /** Carries a batch for the one call that made it. */
  static Bundle complete(TransportBatch body, Waiting call) {
    Bundle bundle = new Bundle(Kind.COMPLETE);
    bundle.calls.add(call);
    bundle.size = body.getSerializedSize();
    bundle.due = true;
    bundle.body = body;
    return bundle;
  }

  void add(Waiting call) {
    calls.add(call);
    size += call.piece.size();
  }

  /** Whether a call still waits for it. */
  boolean isWanted() {
    return calls.stream().anyMatch(call -> !call.isGone());
  }

  /**
   * The message that carries it. A repeat has the same request_id and items, where it has one at
   * all.
   */
  TransportBatch request(long correlationId) {
    if (body == null || kind == Kind.SEAL) {
      // What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so
      // the
      // session.
      calls.removeIf(Waiting::isGone);
      body = made();
    }
    return body.toBuilder().setCorrelationId(correlationId).build();
  }

  private TransportBatch made() {
    String requestId = kind == Kind.SEAL ? "" : Calls.newRequestId();
    TransportBatch.Builder batch = TransportBatch.newBuilder();
    return kind == Kind.OPEN
        ? batch.setDecrypt(Packing.decrypting(pieces(), requestId)).build()
        : batch.setEncrypt(Packing.encrypting(pieces(), requestId)).build();
  }

  private List<Piece> pieces() {
    return calls.stream().map(call -> call.piece).toList();
  }

  /** Hands out the results. */
  void answered(TransportAnswer answer) {
    List<? extends Result<?>> results;
    try {
      results =
          switch (kind) {
            case COMPLETE -> List.of(new Result.Done<>(answer));
            case OPEN -> Unpacking.opened(answer.getDecrypt(), pieces());
            case SEAL, SEAL_IN_TURN -> Unpacking.sealed(answer.getEncrypt(), calls.size());
          };
    } catch (NoisegateException notWhole) {
      fail(notWhole);
      return;
    }
    for (int n = 0; n < calls.size(); n++) {
      calls.get(n).settle(results.get(n));
    }
  }

  /** Ends every call that still waits. */
  void fail(RuntimeException why) {
    calls.forEach(call -> call.result.completeExceptionally(why));
  }

  /** Remembers why an attempt was in vain. */
  void inVain(NoisegateException why) {
    calls.forEach(call -> call.refused = why);
  }
}
