package io.noisegate;

import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.Status;
import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportBatch;
import java.time.Duration;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;

/**
 * Lets calls of many sessions travel together: one line for each endpoint, made when first needed.
 */
final class Multiplexer {
  private final Config config;
  private final Channels channels;
  private final Background background;
  private final CallOptions options;
  private final Map<String, Line> lines = new HashMap<>();
  private boolean closed;

  Multiplexer(Config config, Channels channels, Background background, CallOptions options) {
    this.config = config;
    this.channels = channels;
    this.background = background;
    this.options = options;
  }

  /** Lets one item go with the next batch of its kind, and waits for what becomes of it. */
  CompletableFuture<Object> enter(Scope scope, String endpoint, Bundle.Kind kind, Piece piece) {
    // Copied: a call that ends early gives its arrays back while its batch may yet be written.
    byte[] body = piece.body().clone();
    byte[] associatedData = piece.associatedData().clone();
    var call = new Bundle.Waiting(new Piece(piece.sessionId(), body, associatedData));
    Runnable go = () -> hand(endpoint, line -> line.add(kind, call));
    return waits(scope, config.policy().packetDeadline(), call, go);
  }

  /** Lets a batch go that is one call of the game's, and waits for its answer. */
  CompletableFuture<TransportAnswer> carry(Scope scope, String endpoint, TransportBatch body) {
    var call = new Bundle.Waiting(null);
    Bundle bundle = Bundle.complete(body, call);
    Runnable go = () -> hand(endpoint, line -> line.carry(bundle));
    return waits(scope, config.policy().controlDeadline(), call, go)
        .thenApply(TransportAnswer.class::cast);
  }

  private CompletableFuture<Object> waits(
      Scope scope, Duration deadline, Bundle.Waiting call, Runnable go) {
    Context.CancellableContext context = scope.within(deadline, background.timer());
    scope.whenEnded(context, ended -> call.result.completeExceptionally(why(call, ended)));
    try {
      go.run();
    } catch (RuntimeException error) {
      call.result.completeExceptionally(error);
    }
    return call.result.whenComplete((result, error) -> context.cancel(null));
  }

  /** A call whose time is up may have waited to go again: then that is why. */
  private static RuntimeException why(Bundle.Waiting call, RuntimeException ended) {
    boolean late =
        ended instanceof NoisegateException known && known.code() == Status.Code.DEADLINE_EXCEEDED;
    NoisegateException refused = call.refused;
    return late && refused != null ? refused : ended;
  }

  /**
   * Gives something to the endpoint's line. One that was retired in this very moment takes nothing:
   * then to a new one.
   */
  void hand(String endpoint, Predicate<Line> give) {
    boolean taken;
    do {
      taken = give.test(line(endpoint));
    } while (!taken);
  }

  private synchronized Line line(String endpoint) {
    if (closed) {
      throw new ClientClosedException();
    }
    Line line = lines.get(endpoint);
    if (line == null) {
      String address = config.addressOf(endpoint);
      config.checkPlaintext(address);
      if (lines.size() >= Channels.MAX) {
        retire();
      }
      line =
          new Line(
              config.policy(),
              config.multiplex(),
              background,
              opening -> Link.open(opening, background, channels.dial(address), options));
      lines.put(endpoint, line);
    }
    return line;
  }

  /** Closes a line that nobody waits for. */
  synchronized void retire() {
    for (Iterator<Line> each = lines.values().iterator(); each.hasNext(); ) {
      if (each.next().retire()) {
        each.remove();
        return;
      }
    }
  }

  /** Ends every stream; calls that wait end with ClientClosedException. */
  synchronized void close() {
    closed = true;
    lines.values().forEach(Line::close);
    lines.clear();
  }
}
