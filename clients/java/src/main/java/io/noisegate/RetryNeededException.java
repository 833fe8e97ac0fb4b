package io.noisegate;

import io.noisegate.v1.HandshakeRetry;
import java.util.List;

/**
 * The player has to begin anew, otherwise (DATAGRAM). There is no session, and so no onSend: send
 * the player {@link #toPeer()}, which says how.
 */
public final class RetryNeededException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final HandshakeRetry.Reason why;
  private final transient List<byte[]> toPeer;

  RetryNeededException(HandshakeRetry.Reason why, List<byte[]> toPeer) {
    super("the player has to begin anew: " + why);
    this.why = why;
    this.toPeer = toPeer;
  }

  /** Because of what it chose, or of its clock. */
  public HandshakeRetry.Reason why() {
    return why;
  }

  /** For the player, each on its own. */
  public List<byte[]> toPeer() {
    return toPeer;
  }
}
