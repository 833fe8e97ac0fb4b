package io.noisegate;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a player's packet claims to be: nothing of it is authenticated.
 *
 * @param type of docs/protocol.md, section 2
 * @param connectionId its 8 bytes as a number, big-endian; 0 in a player's first packet. It finds a
 *     session and proves nothing
 */
public record Packet(Type type, long connectionId) {

  /** The types of docs/protocol.md, section 2. */
  public enum Type {
    HANDSHAKE,
    RECORD,
    SALTED,
    RESUME,
    FRAGMENT,
    RETRY
  }

  static final int MAX_BYTES = 65_535;
  static final int HEADER_BYTES = 9;
  static final int CONNECTION_ID_BYTES = 8;
  private static final int ECHO_BYTES = 8;
  private static final Type[] TYPES = Type.values();

  /**
   * Reads the type and the connection id of a player's packet; empty for bytes that are not one of
   * noisegate's. It needs no key and no service.
   *
   * <p>First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so
   * one port can serve all.
   */
  public static Optional<Packet> peek(byte[] packet) {
    if (packet.length < HEADER_BYTES || packet[0] < 0x09 || packet[0] > 0x0e) {
      return Optional.empty();
    }
    return Optional.of(new Packet(TYPES[packet[0] - 0x09], longAt(packet, 1)));
  }

  /** The step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one. */
  static int stepOf(byte[] packet) {
    return packet.length <= HEADER_BYTES ? 0 : packet[HEADER_BYTES];
  }

  /** What a RETRY carries of the packet that it refuses. */
  static long echoOf(byte[] packet) {
    try {
      return longAt(MessageDigest.getInstance("SHA-256").digest(packet), 0);
    } catch (NoSuchAlgorithmException never) {
      throw new IllegalStateException(never);
    }
  }

  /** Reads it; empty where the packet is too short. */
  static OptionalLong echoIn(byte[] packet) {
    return packet.length < HEADER_BYTES + ECHO_BYTES
        ? OptionalLong.empty()
        : OptionalLong.of(longAt(packet, HEADER_BYTES));
  }

  static long longAt(byte[] bytes, int at) {
    return ByteBuffer.wrap(bytes).getLong(at);
  }
}
