package io.noisegate;

import io.grpc.ManagedChannel;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/** One connection for each endpoint, made when first needed, all with the same credentials. */
final class Channels {
  /** How many are kept, unless more are in use; the longest unused gives way. */
  static final int MAX = 64;

  private final Config config;
  private final Background background;

  /** By address; the latest used last. */
  private final Map<String, Lane> lanes = new LinkedHashMap<>(16, 0.75f, true);

  private boolean closed;

  /** A connection and how many calls are on it. */
  final class Lane {
    final ManagedChannel channel;
    private int inFlight;

    private Lane(ManagedChannel channel) {
      this.channel = channel;
    }

    void release() {
      synchronized (Channels.this) {
        inFlight -= 1;
      }
    }
  }

  Channels(Config config, Background background) {
    this.config = config;
    this.background = background;
  }

  /** A new connection, which its caller shuts down. */
  ManagedChannel dial(String address) {
    ManagedChannel channel = config.dial(address, background);
    Reconnect.watch(channel, background);
    return channel;
  }

  /** The connection to HOST:PORT, empty for the client's own target, until it is released. */
  synchronized Lane take(String endpoint) {
    if (closed) {
      throw new ClientClosedException();
    }
    String address = config.addressOf(endpoint);
    Lane lane = lanes.get(address);
    if (lane == null) {
      lane = new Lane(dial(address));
      makeRoom();
      lanes.put(address, lane);
    }
    lane.inFlight += 1;
    return lane;
  }

  private void makeRoom() {
    Iterator<Lane> oldest = lanes.values().iterator();
    while (lanes.size() >= MAX && oldest.hasNext()) {
      Lane lane = oldest.next();
      if (lane.inFlight == 0) {
        lane.channel.shutdown();
        oldest.remove();
        return;
      }
    }
  }

  synchronized boolean isClosed() {
    return closed;
  }

  synchronized void close() {
    closed = true;
    lanes.values().forEach(lane -> lane.channel.shutdownNow());
    lanes.clear();
  }
}
