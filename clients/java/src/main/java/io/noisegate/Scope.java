package io.noisegate;

import io.grpc.Context;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * One call of the game's, from the thread that makes it to the end of its future: where it comes
 * from, its headers, and whether anybody still waits for it.
 */
final class Scope {
  private final Context caller;
  private final Context.CancellableContext context;
  private final Background background;
  final Metadata headers;

  private Scope(Context caller, Background background, Metadata headers) {
    this.caller = caller;
    this.context = caller.withCancellation();
    this.background = background;
    this.headers = headers;
  }

  /** Runs the call. Its future is the game's: who cancels that cancels the call. */
  static <T> CompletableFuture<T> run(
      Config config, Background background, Function<Scope, CompletableFuture<T>> call) {
    Scope scope = new Scope(Context.current(), background, config.headers());
    CompletableFuture<T> result = new CompletableFuture<>();
    begun(() -> call.apply(scope))
        .whenComplete(
            (value, error) -> {
              scope.context.cancel(null);
              scope.asCaller(() -> end(result, value, error));
            });
    result.whenComplete(
        (value, error) -> {
          if (result.isCancelled()) {
            scope.context.cancel(error);
          }
        });
    return result;
  }

  /** What throws at once fails likewise. */
  static <T> CompletableFuture<T> begun(Supplier<CompletableFuture<T>> call) {
    try {
      return call.get();
    } catch (RuntimeException error) {
      return CompletableFuture.failedFuture(error);
    }
  }

  static <T> void end(CompletableFuture<T> result, T value, Throwable error) {
    if (error == null) {
      result.complete(value);
    } else {
      result.completeExceptionally(causeOf(error));
    }
  }

  /** Without what futures wrap it in. */
  static Throwable causeOf(Throwable error) {
    return error instanceof CompletionException && error.getCause() != null
        ? error.getCause()
        : error;
  }

  /** As a result that is an error. */
  static RuntimeException failureOf(Throwable error) {
    Throwable cause = causeOf(error);
    return cause instanceof RuntimeException known ? known : new CompletionException(cause);
  }

  /**
   * In the caller's context: what follows on a call must not be bound to that call's deadline, nor
   * end with it.
   */
  void asCaller(Runnable what) {
    caller.run(what);
  }

  /** The context of one call to the service: the caller's deadline, or this one. */
  Context.CancellableContext within(Duration deadline, ScheduledThreadPoolExecutor timer) {
    return context.getDeadline() != null
        ? context.withCancellation()
        : context.withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS, timer);
  }

  /** How it ended, to whoever waits in it. */
  void whenEnded(Consumer<RuntimeException> tell) {
    whenEnded(context, tell);
  }

  void whenEnded(Context ending, Consumer<RuntimeException> tell) {
    ending.addListener(ended -> tell.accept(howEnded(ended)), background);
  }

  private static RuntimeException howEnded(Context ended) {
    return ended.cancellationCause() == null
        ? new CancellationException()
        : NoisegateException.of(ended);
  }
}
