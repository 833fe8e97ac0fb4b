package io.noisegate;

import java.util.function.BiFunction;
import java.util.function.LongSupplier;

/**
 * Of a receiver whose addresses are of type A.
 *
 * @param admit is asked before a player begins or resumes a session, with its packet and its
 *     address; null refuses it
 * @param maxSessions handles kept, and half-open ones besides; a forgotten one is found again by
 *     the service
 * @param mtu bytes of a datagram that the players' paths take, at least 576; larger packets go out
 *     as fragments
 * @param reassembly what the fragments of players may cost
 * @param clock nanoseconds, monotonic
 */
public record ReceiverOptions<A>(
    BiFunction<byte[], A, Admission> admit,
    int maxSessions,
    int mtu,
    Reassembler.Limits reassembly,
    LongSupplier clock) {

  /** What every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet. */
  private static final int LEAST_MTU = 576;

  /** Throws IllegalArgumentException. */
  public ReceiverOptions {
    if (mtu < LEAST_MTU || maxSessions < 1) {
      throw new IllegalArgumentException("mtu must be at least 576, maxSessions at least 1");
    }
  }

  /** Anyone may play, unnamed; 65,536 sessions, datagrams of 1,200 bytes. */
  public static <A> ReceiverOptions<A> defaults() {
    return new ReceiverOptions<>(
        (packet, source) -> Admission.ANYONE,
        65_536,
        Fragments.DEFAULT_MTU,
        Reassembler.Limits.DEFAULT,
        System::nanoTime);
  }

  /** The same with another who decides. */
  public ReceiverOptions<A> withAdmit(BiFunction<byte[], A, Admission> decide) {
    return new ReceiverOptions<>(decide, maxSessions, mtu, reassembly, clock);
  }

  /** The same with another number of sessions. */
  public ReceiverOptions<A> withMaxSessions(int most) {
    return new ReceiverOptions<>(admit, most, mtu, reassembly, clock);
  }

  /** The same with another size of datagrams. */
  public ReceiverOptions<A> withMtu(int bytes) {
    return new ReceiverOptions<>(admit, maxSessions, bytes, reassembly, clock);
  }

  /** The same with another clock. */
  public ReceiverOptions<A> withClock(LongSupplier nanoseconds) {
    return new ReceiverOptions<>(admit, maxSessions, mtu, reassembly, nanoseconds);
  }
}
