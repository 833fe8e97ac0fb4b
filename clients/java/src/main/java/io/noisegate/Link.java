package io.noisegate;

import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportRequest;
import io.noisegate.v1.TransportResponse;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * One Transport stream over a connection of its own.
 *
 * <p>A caller that writes only while it is not reading can lock up with a service that does the
 * same as soon as both directions are full. Here answers are always read, whatever the writing side
 * waits for.
 */
final class Link implements ClientResponseObserver<TransportRequest, TransportResponse> {
  /**
   * Batches that one stream has under way, as many as may wait at the service; more wait and grow.
   */
  private static final int MAX_UNANSWERED = 32;

  /**
   * From here on a message takes no further batch; with the longest one it is still below the
   * service's limit.
   */
  private static final int JOINED_BYTES = 256 << 10;

  private static final Set<Status.Code> CUT =
      EnumSet.of(Status.Code.INTERNAL, Status.Code.CANCELLED, Status.Code.UNKNOWN);

  private final Line line;
  private final Background background;
  private final ManagedChannel channel;
  private final AtomicBoolean woken = new AtomicBoolean();

  /**
   * By number, the oldest first; guards the fields below, and is never held while another lock is
   * taken.
   */
  private final TreeMap<Long, Bundle> unanswered = new TreeMap<>();

  private boolean draining;
  private boolean over;

  /** Of those who write, one at a time: guards the fields below. */
  private final Object writing = new Object();

  private ClientCallStreamObserver<TransportRequest> stream;
  private long number;
  private boolean halfClosed;

  private Link(Line line, Background background, ManagedChannel channel) {
    this.line = line;
    this.background = background;
    this.channel = channel;
  }

  /** Opens a stream over a connection, which ends with it. */
  static Link open(Line line, Background background, ManagedChannel channel, CallOptions options) {
    Link link = new Link(line, background, channel);
    background.execute(
        () ->
            // It outlives the call that it is opened for.
            Context.ROOT.run(
                () ->
                    ClientCalls.asyncBidiStreamingCall(
                        channel.newCall(Methods.TRANSPORT, options), link)));
    return link;
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<TransportRequest> requests) {
    synchronized (writing) {
      stream = requests;
    }
    requests.setOnReadyHandler(this::write);
  }

  boolean isBusy() {
    synchronized (unanswered) {
      return !unanswered.isEmpty();
    }
  }

  /** There may be something to take. */
  void wake() {
    if (woken.compareAndSet(false, true)) {
      background.execute(this::write);
    }
  }

  /** Ends the stream; the line hears of it as of any other end. */
  void cancel() {
    channel.shutdownNow();
  }

  /** Sends the batches that are due, as far as the stream takes them. */
  private void write() {
    woken.set(false);
    synchronized (writing) {
      while (stream != null && !halfClosed && stream.isReady()) {
        if (isDraining()) {
          // The service ends the stream once everything that it has read is answered.
          halfClosed = true;
          stream.onCompleted();
          return;
        }
        TransportRequest message = next();
        if (message.getBatchesCount() == 0) {
          return;
        }
        stream.onNext(message);
      }
    }
  }

  /**
   * The batches that are due, as one message: it costs both sides hardly more than one of them
   * alone.
   */
  private TransportRequest next() {
    TransportRequest.Builder message = TransportRequest.newBuilder();
    for (int size = 0; size < JOINED_BYTES && hasRoom(); ) {
      Bundle bundle = line.take(this);
      if (bundle == null) {
        break;
      }
      number += 1;
      message.addBatches(bundle.request(number));
      size += bundle.size;
      boolean late;
      synchronized (unanswered) {
        late = over;
        if (!late) {
          unanswered.put(number, bundle);
        }
      }
      if (late) {
        line.ended(this, List.of(bundle), NoisegateException.of(Status.Code.UNAVAILABLE, "cut"));
      }
    }
    return message.build();
  }

  private boolean hasRoom() {
    synchronized (unanswered) {
      return !over && !draining && unanswered.size() < MAX_UNANSWERED;
    }
  }

  private boolean isDraining() {
    synchronized (unanswered) {
      return draining;
    }
  }

  @Override
  public void onNext(TransportResponse response) {
    response.getAnswersList().forEach(this::settle);
    if (response.hasDraining()) {
      synchronized (unanswered) {
        draining = true;
      }
      line.draining(this);
    }
    wake();
  }

  private void settle(TransportAnswer answer) {
    Bundle bundle;
    synchronized (unanswered) {
      bundle = unanswered.remove(answer.getCorrelationId());
    }
    if (bundle == null) {
      return;
    }
    if (answer.hasRefused()) {
      line.refused(bundle, NoisegateException.of(answer.getRefused()));
      return;
    }
    line.answered();
    bundle.answered(answer);
  }

  @Override
  public void onError(Throwable error) {
    NoisegateException why = NoisegateException.of(error);
    // A connection that is gone is one thing, however gRPC names it.
    boolean cut = why.reason().isEmpty() && CUT.contains(why.code());
    end(cut ? NoisegateException.of(Status.Code.UNAVAILABLE, why.getMessage()) : why);
  }

  @Override
  public void onCompleted() {
    end(NoisegateException.of(Status.Code.UNAVAILABLE, "the service ended the stream"));
  }

  private void end(NoisegateException why) {
    channel.shutdownNow();
    List<Bundle> left;
    synchronized (unanswered) {
      over = true;
      left = new ArrayList<>(unanswered.values());
      unanswered.clear();
    }
    line.ended(this, left, why);
  }
}
