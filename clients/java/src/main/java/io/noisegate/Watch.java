package io.noisegate;

import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import io.noisegate.v1.WatchSessionsRequest;
import io.noisegate.v1.WatchSessionsResponse;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/** A watch of sessions, until it is closed. */
public final class Watch implements AutoCloseable {
  private final ClientCall<WatchSessionsRequest, WatchSessionsResponse> call;
  private final CompletableFuture<Void> ended = new CompletableFuture<>();

  private Watch(ClientCall<WatchSessionsRequest, WatchSessionsResponse> call) {
    this.call = call;
  }

  static Watch begin(
      Client client,
      String endpoint,
      WatchSessionsRequest request,
      Consumer<WatchSessionsResponse> told) {
    Channels.Lane lane = client.channels.take(endpoint);
    // It outlives the call in which it is begun.
    Context before = Context.ROOT.attach();
    try {
      Watch watch = new Watch(lane.channel.newCall(Methods.WATCH_SESSIONS, client.calls.options()));
      watch.ended.whenComplete((nothing, error) -> lane.release());
      ClientCalls.asyncServerStreamingCall(watch.call, request, watch.telling(told));
      return watch;
    } finally {
      Context.ROOT.detach(before);
    }
  }

  private StreamObserver<WatchSessionsResponse> telling(Consumer<WatchSessionsResponse> told) {
    return new StreamObserver<>() {
      @Override
      public void onNext(WatchSessionsResponse event) {
        told.accept(event);
      }

      @Override
      public void onError(Throwable error) {
        ended.completeExceptionally(NoisegateException.of(error));
      }

      @Override
      public void onCompleted() {
        ended.complete(null);
      }
    };
  }

  /** Fails with the error that ended it, completes where it was closed. */
  public CompletableFuture<Void> ended() {
    return ended.copy();
  }

  /** Ends it; an event that is on its way may still be told. */
  @Override
  public void close() {
    ended.complete(null);
    call.cancel("the watch was closed", null);
  }
}
