package io.noisegate;

import com.google.protobuf.ByteString;

/**
 * The address of one session's player, and how far it is believed.
 *
 * <p>An address proves itself by a handshake, or by the answer to a question: whoever finishes or
 * answers it has read our message, which went to that address and to no other. Any other record
 * proves that the player sent it, not that the player is where it says: a player may forge its own
 * source address to have a stranger flooded.
 */
final class PlayerPath<A> {
  /**
   * An address that has proved nothing gets at most this many times what came from it (RFC 9000,
   * 8).
   */
  private static final int AMPLIFICATION = 3;

  A address;
  boolean verified;
  private long came;
  private long sent;
  private Opened.Position latest;
  private boolean provable;

  /** The last address that had proved itself; null for none. */
  private A home;

  private ByteString asked = ByteString.EMPTY;

  PlayerPath(A address, int came, boolean provable) {
    this.address = address;
    this.came = came;
    this.provable = provable;
  }

  /** So many bytes that name this session. */
  void cameFrom(A source, int size) {
    if (source.equals(address)) {
      came += size;
    }
  }

  /** Whether a message may go to the address now; it counts as sent if so. */
  boolean maySend(int size) {
    if (verified) {
      return true;
    }
    if (sent + size > AMPLIFICATION * came) {
      return false;
    }
    sent += size;
    return true;
  }

  /**
   * A handshake message of ours went to another address, so finishing proves nothing about this
   * one.
   */
  void answeredElsewhere() {
    provable = false;
  }

  /** The player finished the handshake with a message that needed ours. */
  void finished(A source) {
    if (provable && source.equals(address)) {
      verified = true;
    }
  }

  /** A record opened that came from source; whether the player is now followed to there. */
  boolean opened(A source, int size, Opened.Position here) {
    // Calls run side by side: an answer may come after that of a newer record.
    if (!here.newest() || !isAfterLatest(here)) {
      return false;
    }
    latest = here;
    if (source.equals(address)) {
      if (!here.early()) {
        finished(source);
      }
      return false;
    }
    home = verified ? address : home;
    address = source;
    verified = source.equals(home);
    came = size;
    sent = 0;
    provable = false;
    asked = ByteString.EMPTY;
    return true;
  }

  private boolean isAfterLatest(Opened.Position here) {
    if (latest == null) {
      return true;
    }
    int epochs = Integer.compareUnsigned(here.epoch(), latest.epoch());
    int counters = Long.compareUnsigned(here.counter(), latest.counter());
    return epochs != 0 ? epochs > 0 : counters > 0;
  }

  /** A question with this token goes to the address, and to no other. */
  void ask(ByteString token) {
    asked = token;
  }

  /** A record from source has answered the question with this token, empty for none. */
  void answered(A source, ByteString token) {
    if (!token.isEmpty() && source.equals(address) && token.equals(asked)) {
      verified = true;
    }
  }
}
