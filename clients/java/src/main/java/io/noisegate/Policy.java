package io.noisegate;

import java.time.Duration;

/**
 * How long calls may take and how they are repeated. The service remembers a request_id for 5 s:
 * keep deadlines below that.
 *
 * @param packetDeadline that of encrypt and decrypt, all attempts together, where the {@link
 *     io.grpc.Context} of the caller has none. NOISE mode: a late answer costs the session there,
 *     so set it higher, e.g. 2 s, where a machine may be loaded
 * @param controlDeadline that of every other call
 * @param attempts of one call at a service that refuses it (OVERLOADED), the first included; 1 for
 *     no repeats. Those that found nobody, or a service that stops, do not count: an instance that
 *     restarts comes back with its sessions, and the deadline bounds them
 * @param firstBackoff the most to wait before the first repeat; it doubles
 * @param maxBackoff up to this
 */
public record Policy(
    Duration packetDeadline,
    Duration controlDeadline,
    int attempts,
    Duration firstBackoff,
    Duration maxBackoff) {

  /**
   * What a client has unless it is told otherwise: 250 ms, 2 s, 5 attempts, 25 to 500 ms between.
   */
  public static final Policy DEFAULT =
      new Policy(
          Duration.ofMillis(250),
          Duration.ofSeconds(2),
          5,
          Duration.ofMillis(25),
          Duration.ofMillis(500));

  /** Throws IllegalArgumentException. */
  public Policy {
    if (!isPositive(packetDeadline) || !isPositive(controlDeadline) || attempts < 1) {
      throw new IllegalArgumentException("deadlines must be positive, attempts at least 1");
    }
    if (firstBackoff.isNegative() || maxBackoff.isNegative()) {
      throw new IllegalArgumentException("back-off must not be negative");
    }
  }

  /** The same with another deadline of encrypt and decrypt. */
  public Policy withPacketDeadline(Duration deadline) {
    return new Policy(deadline, controlDeadline, attempts, firstBackoff, maxBackoff);
  }

  /** The same with another deadline of every other call. */
  public Policy withControlDeadline(Duration deadline) {
    return new Policy(packetDeadline, deadline, attempts, firstBackoff, maxBackoff);
  }

  /** The same with another number of attempts. */
  public Policy withAttempts(int most) {
    return new Policy(packetDeadline, controlDeadline, most, firstBackoff, maxBackoff);
  }

  /**
   * Whether an attempt that was refused for this reason is one of the attempts. Without a reason
   * gRPC itself gave up, and nobody has looked at the call.
   */
  boolean counts(String reason) {
    return attempts == 1 || !(reason.isEmpty() || reason.equals(Reason.DRAINING));
  }

  /** Before repeat 0, 1, ...; share is random in [0, 1). What the service asks for comes on top. */
  Duration delay(int repeat, double share, Duration asked) {
    double backoff = firstBackoff.toNanos() * Math.pow(2, Math.min(repeat, 16));
    double most = Math.min(backoff, Math.max(firstBackoff.toNanos(), maxBackoff.toNanos()));
    // Half is fixed, so that a repeat is never at once; half is random, so that clients do not
    // march
    // in step.
    return asked.plusNanos((long) (most * (0.5 + 0.5 * share)));
  }

  private static boolean isPositive(Duration deadline) {
    return !deadline.isNegative() && !deadline.isZero();
  }
}
