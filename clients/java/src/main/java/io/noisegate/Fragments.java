package io.noisegate;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Cuts packets that are larger than a path takes (docs/protocol.md, section 2). */
public final class Fragments {
  /** Bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14). */
  public static final int DEFAULT_MTU = 1_200;

  static final int HEADER_BYTES = 13;
  static final byte FIRST_BYTE = 0x0d;
  private static final int MAX_PARTS = 255;

  private Fragments() {}

  /**
   * The datagrams of at most mtu bytes that carry a packet: itself where it fits, otherwise
   * FRAGMENTs. Give each packet, and each repeat, another messageId (16 bits). Throws
   * IllegalArgumentException for what cannot be cut to this size.
   */
  public static List<byte[]> split(byte[] packet, int messageId, int mtu) {
    if (packet.length <= mtu) {
      return List.of(packet);
    }
    int room = mtu - HEADER_BYTES;
    int count = room < 1 ? MAX_PARTS + 1 : (packet.length + room - 1) / room;
    if (count > MAX_PARTS || packet.length > Packet.MAX_BYTES || !mayBeCut(packet)) {
      throw new IllegalArgumentException("not a packet that can be cut to this size");
    }
    List<byte[]> parts = new ArrayList<>(count);
    for (int n = 0; n < count; n++) {
      int size = Math.min(room, packet.length - n * room);
      parts.add(
          ByteBuffer.allocate(HEADER_BYTES + size)
              .put(FIRST_BYTE)
              .put(packet, 1, Packet.CONNECTION_ID_BYTES)
              .putShort((short) messageId)
              .put((byte) n)
              .put((byte) count)
              .put(packet, n * room, size)
              .array());
    }
    return parts;
  }

  /** A RETRY is small, and a FRAGMENT is no packet to be cut again. */
  static boolean mayBeCut(byte[] packet) {
    return Packet.peek(packet)
        .filter(peeked -> peeked.type() != Packet.Type.FRAGMENT)
        .filter(peeked -> peeked.type() != Packet.Type.RETRY)
        .isPresent();
  }
}
