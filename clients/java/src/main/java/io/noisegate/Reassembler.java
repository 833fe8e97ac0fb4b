package io.noisegate;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Puts the parts of large packets together, of sources that A names (it needs equals and hashCode).
 * It needs no key, and nothing here is authenticated: a whole packet proves itself when the service
 * opens it. It is not for several threads at once.
 */
public final class Reassembler<A> {

  /**
   * What parts may cost while the rest of their sets is on its way. Bytes count bookkeeping, too.
   *
   * @param totalBytes of all sets; beyond it the oldest go
   * @param setsPerSource beyond it that source's oldest go
   * @param bytesPerSource likewise
   * @param lifetime from a set's first part to its last
   */
  public record Limits(int totalBytes, int setsPerSource, int bytesPerSource, Duration lifetime) {

    /** What strangers can make a reassembler keep: 4 MiB, for 2 s. */
    public static final Limits DEFAULT = new Limits(4 << 20, 8, 160 << 10, Duration.ofSeconds(2));
  }

  /** What a set costs beside its parts, rounded up. */
  private static final int SET_BYTES = 512;

  /** What a part costs beside its bytes, rounded up. */
  private static final int PART_BYTES = 128;

  private final Limits limits;

  /**
   * By their first parts, the oldest first, which is by their expiry: a part makes its set no
   * younger.
   */
  private final Map<Key<A>, PartSet<A>> sets = new LinkedHashMap<>();

  private final Map<A, Share<A>> sources = new HashMap<>();
  private int cost;

  /** Parts that differ in one of these are of different sets. */
  private record Key<A>(A source, long connectionId, short messageId, int count) {}

  private static final class PartSet<A> {
    final Key<A> key;
    final long begunAt;
    final Map<Integer, byte[]> parts = new HashMap<>();
    int size;
    int cost;

    PartSet(Key<A> key, long begunAt) {
      this.key = key;
      this.begunAt = begunAt;
    }
  }

  /** What one source has here, the oldest first. */
  private static final class Share<A> {
    final Set<PartSet<A>> sets = new LinkedHashSet<>();
    int cost;
  }

  /** One with nothing in it. */
  public Reassembler(Limits limits) {
    this.limits = limits;
  }

  /** What the parts that wait cost. */
  public int heldBytes() {
    return cost;
  }

  /**
   * Takes a part that came at now (nanoseconds of a monotonic clock) and gives the whole packet
   * where it was the last one missing. A part that has come before changes nothing. Throws
   * BadFragmentException where it is malformed, or completes what is no packet.
   */
  public Optional<byte[]> add(byte[] fragment, A source, long now) {
    expire(now);
    if (fragment.length <= Fragments.HEADER_BYTES || fragment[0] != Fragments.FIRST_BYTE) {
      throw new BadFragmentException();
    }
    ByteBuffer header = ByteBuffer.wrap(fragment, 1, Fragments.HEADER_BYTES - 1);
    long connectionId = header.getLong();
    short messageId = header.getShort();
    int number = Byte.toUnsignedInt(header.get());
    int count = Byte.toUnsignedInt(header.get());
    if (number >= count) {
      throw new BadFragmentException();
    }
    Key<A> key = new Key<>(source, connectionId, messageId, count);
    PartSet<A> set = sets.get(key);
    if (set == null) {
      set = begin(key, now);
    } else if (set.parts.containsKey(number)) {
      return Optional.empty();
    }
    byte[] part = Arrays.copyOfRange(fragment, Fragments.HEADER_BYTES, fragment.length);
    set.parts.put(number, part);
    set.size += part.length;
    pay(set, part.length + PART_BYTES);
    if (set.size > Packet.MAX_BYTES) {
      drop(set);
      throw new BadFragmentException();
    }
    if (set.parts.size() < count) {
      makeRoom(source);
      return Optional.empty();
    }
    drop(set);
    return Optional.of(whole(set));
  }

  private byte[] whole(PartSet<A> set) {
    ByteBuffer joined = ByteBuffer.allocate(set.size);
    for (int n = 0; n < set.key.count(); n++) {
      joined.put(set.parts.get(n));
    }
    byte[] packet = joined.array();
    boolean isOne =
        Fragments.mayBeCut(packet) && Packet.longAt(packet, 1) == set.key.connectionId();
    if (!isOne) {
      throw new BadFragmentException();
    }
    return packet;
  }

  private void expire(long now) {
    long lifetime = limits.lifetime().toNanos();
    while (!sets.isEmpty()) {
      PartSet<A> oldest = sets.values().iterator().next();
      if (now - oldest.begunAt < lifetime) {
        return;
      }
      drop(oldest);
    }
  }

  private PartSet<A> begin(Key<A> key, long now) {
    PartSet<A> set = new PartSet<>(key, now);
    sets.put(key, set);
    sources.computeIfAbsent(key.source(), source -> new Share<>()).sets.add(set);
    pay(set, SET_BYTES);
    return set;
  }

  private void pay(PartSet<A> set, int bytes) {
    set.cost += bytes;
    sources.get(set.key.source()).cost += bytes;
    cost += bytes;
  }

  private void makeRoom(A source) {
    Share<A> own = sources.get(source);
    while (own.sets.size() > limits.setsPerSource() || own.cost > limits.bytesPerSource()) {
      drop(own.sets.iterator().next());
    }
    while (cost > limits.totalBytes()) {
      Iterator<PartSet<A>> oldest = sets.values().iterator();
      drop(oldest.next());
    }
  }

  private void drop(PartSet<A> set) {
    Share<A> own = sources.get(set.key.source());
    sets.remove(set.key);
    own.sets.remove(set);
    own.cost -= set.cost;
    cost -= set.cost;
    if (own.sets.isEmpty()) {
      sources.remove(set.key.source());
    }
  }
}
