package io.noisegate;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.time.Duration;

/**
 * Connects again sooner than gRPC, whose own second before it tries would fail every packet of it:
 * after 100 ms, then ever later, up to 2 s.
 */
final class Reconnect {
  private static final Duration FIRST = Duration.ofMillis(100);
  private static final Duration LONGEST = Duration.ofSeconds(2);

  private final ManagedChannel channel;
  private final Background background;

  private Reconnect(ManagedChannel channel, Background background) {
    this.channel = channel;
    this.background = background;
  }

  static void watch(ManagedChannel channel, Background background) {
    new Reconnect(channel, background).look();
  }

  private void look() {
    ConnectivityState state = channel.getState(false);
    if (state == ConnectivityState.TRANSIENT_FAILURE) {
      background.after(FIRST, () -> again(FIRST));
    } else if (state != ConnectivityState.SHUTDOWN) {
      channel.notifyWhenStateChanged(state, this::look);
    }
  }

  private void again(Duration waited) {
    if (channel.getState(false) != ConnectivityState.TRANSIENT_FAILURE) {
      look();
      return;
    }
    channel.resetConnectBackoff();
    Duration longer = waited.multipliedBy(8).dividedBy(5);
    Duration next = longer.compareTo(LONGEST) < 0 ? longer : LONGEST;
    background.after(next, () -> again(next));
  }
}
