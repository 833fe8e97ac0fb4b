package io.noisegate;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** Lets calls of one direction of a session run one after the other. */
final class Turns {
  /** Of a session, seen from the service. */
  enum Direction {
    SENDING,
    RECEIVING
  }

  /** In this order, so that two calls cannot wait for each other. */
  static final List<Direction> BOTH = List.of(Direction.SENDING, Direction.RECEIVING);

  private final Executor executor;
  private final Map<Direction, Queue> queues = new EnumMap<>(Direction.class);

  Turns(Executor executor) {
    this.executor = executor;
    for (Direction direction : Direction.values()) {
      queues.put(direction, new Queue());
    }
  }

  /**
   * Runs a call when its turn in these directions has come; gives the turn up at the call's end.
   */
  <T> CompletableFuture<T> run(
      Scope scope, List<Direction> directions, Supplier<CompletableFuture<T>> call) {
    return take(scope, directions)
        .thenCompose(release -> Scope.begun(call).whenComplete((value, error) -> release.run()));
  }

  /** Waits for the turn; the scope's end, where that comes first, leaves the queue as it was. */
  CompletableFuture<Runnable> take(Scope scope, List<Direction> directions) {
    CompletableFuture<Runnable> taken = CompletableFuture.completedFuture(() -> {});
    for (Direction direction : directions) {
      Queue queue = queues.get(direction);
      taken =
          taken.thenCompose(
              before ->
                  queue
                      .take(scope)
                      .whenComplete(
                          (turn, error) -> {
                            if (error != null) {
                              before.run();
                            }
                          })
                      .thenApply(
                          turn ->
                              () -> {
                                queue.release();
                                before.run();
                              }));
    }
    return taken;
  }

  /** Of one direction. */
  private final class Queue {
    private final Deque<CompletableFuture<Void>> waiting = new ArrayDeque<>();
    private boolean busy;

    CompletableFuture<Void> take(Scope scope) {
      CompletableFuture<Void> turn = new CompletableFuture<>();
      synchronized (this) {
        if (!busy) {
          busy = true;
          turn.complete(null);
          return turn;
        }
        waiting.add(turn);
      }
      scope.whenEnded(turn::completeExceptionally);
      return turn;
    }

    void release() {
      CompletableFuture<Void> next;
      synchronized (this) {
        next = waiting.poll();
        busy = next != null;
      }
      if (next != null) {
        // By another thread: a queue of calls that fail at once would grow the stack.
        executor.execute(
            () -> {
              if (!next.complete(null)) {
                release();
              }
            });
      }
    }
  }
}
