package io.noisegate;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import io.noisegate.Methods.Kind;
import io.noisegate.Methods.Method;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Single calls: their deadline, their repeats, and the endpoint that they end up at. */
final class Calls {
  /** How often one call follows WRONG_OWNER. */
  private static final int MAX_HOPS = 2;

  private final Config config;
  private final Channels channels;
  private final Background background;

  Calls(Config config, Channels channels, Background background) {
    this.config = config;
    this.channels = channels;
    this.background = background;
  }

  /** What came back, and from which endpoint. */
  record Answered<O>(O message, String endpoint) {}

  static String newRequestId() {
    return UUID.randomUUID().toString();
  }

  /**
   * Runs one call to its end.
   *
   * <p>It is repeated only where nothing came back, with the same message and so the same
   * request_id: what the service has done already it answers with the answer that was lost. Every
   * method that changes anything has a request_id. One deadline covers all attempts.
   */
  <I extends Message, O extends Message> CompletableFuture<Answered<O>> ask(
      Scope scope, Method<I, O> method, String endpoint, I request) {
    if (channels.isClosed()) {
      return CompletableFuture.failedFuture(new ClientClosedException());
    }
    Attempts<I, O> attempts = new Attempts<>(scope, method, request, endpoint);
    attempts.next();
    return attempts.result;
  }

  /** Of every call: its token, where there is one. */
  CallOptions options() {
    return config.token() == null
        ? CallOptions.DEFAULT
        : CallOptions.DEFAULT.withCallCredentials(config.token());
  }

  /** One call, under way. */
  private final class Attempts<I extends Message, O extends Message> {
    private final Scope scope;
    private final Method<I, O> method;
    private final I request;
    private final Context.CancellableContext context;
    private final CompletableFuture<Answered<O>> result = new CompletableFuture<>();
    private String endpoint;
    private int repeats;

    /** Attempts, as the policy counts them. */
    private int tried;

    private int hops;

    Attempts(Scope scope, Method<I, O> method, I request, String endpoint) {
      this.scope = scope;
      this.method = method;
      this.request = request;
      this.endpoint = endpoint;
      Policy policy = config.policy();
      Duration deadline =
          method.kind() == Kind.PACKET ? policy.packetDeadline() : policy.controlDeadline();
      context = scope.within(deadline, background.timer());
    }

    void next() {
      attempt()
          .whenComplete(
              (answer, error) -> {
                if (error == null) {
                  end(new Answered<>(answer, endpoint), null);
                } else {
                  failed(Scope.causeOf(error));
                }
              });
    }

    private void end(Answered<O> answered, Throwable error) {
      context.cancel(null);
      scope.asCaller(() -> Scope.end(result, answered, error));
    }

    private void failed(Throwable error) {
      if (!(error instanceof NoisegateException refused)) {
        end(null, error);
        return;
      }
      String owner = refused.metadata().getOrDefault("owner", "");
      if (refused.reason().equals(Reason.WRONG_OWNER) && !owner.isEmpty() && hops < MAX_HOPS) {
        hops += 1;
        endpoint = owner;
        next();
        return;
      }
      double share = ThreadLocalRandom.current().nextDouble();
      Duration delay = config.policy().delay(repeats, share, refused.retryDelay());
      repeats += 1;
      tried += config.policy().counts(refused.reason()) ? 1 : 0;
      if (!isUnanswered(refused) || tried >= config.policy().attempts() || isTooLong(delay)) {
        end(null, refused);
        return;
      }
      Future<?> waiting = background.after(delay, this::next);
      scope.whenEnded(
          context,
          ended -> {
            if (waiting.cancel(false)) {
              end(null, ended);
            }
          });
    }

    /**
     * Refused work or a dead connection; a service that stops cancels what reaches it in that
     * moment.
     */
    private boolean isUnanswered(NoisegateException refused) {
      boolean cut = refused.code() == Status.Code.CANCELLED && refused.reason().isEmpty();
      return refused.code() == Status.Code.UNAVAILABLE || cut;
    }

    private boolean isTooLong(Duration delay) {
      long left = context.getDeadline().timeRemaining(TimeUnit.NANOSECONDS);
      return context.isCancelled() || left <= delay.toNanos();
    }

    private CompletableFuture<O> attempt() {
      Channels.Lane lane;
      try {
        lane = channels.take(endpoint);
      } catch (RuntimeException error) {
        return CompletableFuture.failedFuture(error);
      }
      Channel channel = lane.channel;
      if (!scope.headers.keys().isEmpty()) {
        channel =
            ClientInterceptors.intercept(
                channel, MetadataUtils.newAttachHeadersInterceptor(scope.headers));
      }
      CallOptions options =
          method.kind() == Kind.CONTROL ? options().withWaitForReady() : options();
      Receiving<O> receiving = new Receiving<>(channels, lane);
      Channel through = channel;
      context.run(
          () ->
              ClientCalls.asyncUnaryCall(
                  through.newCall(method.descriptor(), options), request, receiving));
      return receiving.answer;
    }
  }

  /** Waits for one attempt's answer. */
  private static final class Receiving<O> implements StreamObserver<O> {
    private final Channels channels;
    private final Channels.Lane lane;
    final CompletableFuture<O> answer = new CompletableFuture<>();
    private O message;

    Receiving(Channels channels, Channels.Lane lane) {
      this.channels = channels;
      this.lane = lane;
    }

    @Override
    public void onNext(O only) {
      message = only;
    }

    @Override
    public void onCompleted() {
      lane.release();
      answer.complete(message);
    }

    @Override
    public void onError(Throwable error) {
      lane.release();
      answer.completeExceptionally(
          channels.isClosed() ? new ClientClosedException() : NoisegateException.of(error));
    }
  }
}
