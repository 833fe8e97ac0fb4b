package io.noisegate;

import io.noisegate.v1.ErrorReason;
import java.util.Set;

/**
 * Why something was refused, as {@link NoisegateException#reason()}, {@link Opened.Refused} and
 * {@link Received#refused()} have it: the values of the contract's ErrorReason (docs/errors.md says
 * what each means and what to do), and those with which a {@link Receiver} drops a packet by
 * itself. A newer service may have others.
 */
public final class Reason {
  public static final String INVALID_REQUEST = "INVALID_REQUEST";
  public static final String UNSUPPORTED_PROTOCOL = "UNSUPPORTED_PROTOCOL";
  public static final String MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE";
  public static final String POLICY_REJECTED = "POLICY_REJECTED";
  public static final String HANDSHAKE_FAILED = "HANDSHAKE_FAILED";
  public static final String HANDSHAKE_STATE = "HANDSHAKE_STATE";
  public static final String CLOCK_SKEW = "CLOCK_SKEW";
  public static final String STALE_HANDSHAKE = "STALE_HANDSHAKE";
  public static final String SESSION_NOT_FOUND = "SESSION_NOT_FOUND";
  public static final String SESSION_CLOSED = "SESSION_CLOSED";
  public static final String NOT_ESTABLISHED = "NOT_ESTABLISHED";
  public static final String DECRYPT_FAILED = "DECRYPT_FAILED";
  public static final String REPLAY_DETECTED = "REPLAY_DETECTED";
  public static final String COUNTER_TOO_OLD = "COUNTER_TOO_OLD";
  public static final String REKEY_REQUIRED = "REKEY_REQUIRED";
  public static final String EPOCH_CONFLICT = "EPOCH_CONFLICT";
  public static final String WRONG_OWNER = "WRONG_OWNER";
  public static final String TICKET_REJECTED = "TICKET_REJECTED";
  public static final String SESSION_QUOTA = "SESSION_QUOTA";
  public static final String DRAINING = "DRAINING";
  public static final String OVERLOADED = "OVERLOADED";
  public static final String IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT";
  public static final String CALLER_UNAUTHENTICATED = "CALLER_UNAUTHENTICATED";
  public static final String CALLER_FORBIDDEN = "CALLER_FORBIDDEN";
  public static final String INTERNAL = "INTERNAL";
  public static final String PEER_REVOKED = "PEER_REVOKED";
  public static final String BLOB_REJECTED = "BLOB_REJECTED";

  /** Of a Receiver: no packet of noisegate's. */
  public static final String NOT_A_PACKET = "NOT_A_PACKET";

  /** Of a Receiver: the game did not admit the player. */
  public static final String NOT_ADMITTED = "NOT_ADMITTED";

  /** Of a Receiver: a packet that nobody waits for. */
  public static final String UNEXPECTED_PACKET = "UNEXPECTED_PACKET";

  /** Of a Receiver: the player has to begin anew, and what is to be sent tells it how. */
  public static final String RETRY_CHOOSE = "RETRY_CHOOSE";

  /** Of a Receiver: likewise, because of the player's clock. */
  public static final String RETRY_CLOCK = "RETRY_CLOCK";

  private static final Set<String> OF_A_PACKET =
      Set.of(DECRYPT_FAILED, REPLAY_DETECTED, COUNTER_TOO_OLD);

  private static final Set<String> OF_A_LOST_SESSION = Set.of(SESSION_NOT_FOUND, SESSION_CLOSED);

  /** What a player's packet can bring about; others are the service's and the caller's troubles. */
  private static final Set<String> PLAYERS_FAULT =
      Set.of(
          CLOCK_SKEW,
          COUNTER_TOO_OLD,
          DECRYPT_FAILED,
          HANDSHAKE_FAILED,
          HANDSHAKE_STATE,
          INVALID_REQUEST,
          MESSAGE_TOO_LARGE,
          NOT_ESTABLISHED,
          PEER_REVOKED,
          POLICY_REJECTED,
          REPLAY_DETECTED,
          SESSION_CLOSED,
          SESSION_NOT_FOUND,
          SESSION_QUOTA,
          STALE_HANDSHAKE,
          TICKET_REJECTED,
          UNSUPPORTED_PROTOCOL);

  private Reason() {}

  /** Whether a packet was refused, as opposed to its call. */
  static boolean isOfAPacket(String reason) {
    return OF_A_PACKET.contains(reason);
  }

  static boolean isOfALostSession(String reason) {
    return OF_A_LOST_SESSION.contains(reason);
  }

  static boolean isThePlayersFault(String reason) {
    return PLAYERS_FAULT.contains(reason);
  }

  /** Without the contract's prefix; empty for none and for one that this version does not know. */
  static String of(ErrorReason reason) {
    boolean known =
        reason != ErrorReason.ERROR_REASON_UNSPECIFIED && reason != ErrorReason.UNRECOGNIZED;
    return known ? reason.name().substring("ERROR_REASON_".length()) : "";
  }
}
