package io.noisegate;

import io.noisegate.v1.ControlKind;
import java.util.List;

/** What a packet of the player was. A forged or late one is a result, too: the session goes on. */
public sealed interface Opened {

  /** The session's. */
  byte[] sessionId();

  /** A packet that opened. */
  sealed interface Opening extends Opened {

    /** Must go to the player, each on its own; empty where onSend has them. */
    List<byte[]> toPeer();

    /** Where the record stands in its session. */
    Position position();
  }

  /**
   * What the player wrote.
   *
   * @param plaintext may be empty. Secret
   */
  record Data(byte[] sessionId, byte[] plaintext, List<byte[]> toPeer, Position position)
      implements Opening {}

  /**
   * A record that was nothing for the game.
   *
   * @param kind what it was
   * @param answered the token of the question that a keep-alive answers; empty for none
   */
  record Control(
      byte[] sessionId, ControlKind kind, byte[] answered, List<byte[]> toPeer, Position position)
      implements Opening {}

  /**
   * A packet to be dropped.
   *
   * @param reason DECRYPT_FAILED, REPLAY_DETECTED or COUNTER_TOO_OLD
   */
  record Refused(byte[] sessionId, String reason) implements Opened {}

  /**
   * Where a record stands in its session.
   *
   * @param counter of the record, unsigned
   * @param epoch of its key
   * @param early the handshake is not yet confirmed by the player, so this may be a replay
   * @param newest the newest record so far (DATAGRAM); only then follow the player to where it came
   *     from
   * @param rotationDue a soft limit of age or use is passed, rotate soon
   */
  record Position(long counter, int epoch, boolean early, boolean newest, boolean rotationDue) {}
}
