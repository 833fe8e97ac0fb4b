package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PacketTest {
  private static final int MTU = Fragments.DEFAULT_MTU;

  static byte[] record(int size) {
    byte[] packet = new byte[size];
    byte[] header = "\nconnect!".getBytes(StandardCharsets.UTF_8);
    for (int n = 0; n < size; n++) {
      packet[n] = n < header.length ? header[n] : (byte) n;
    }
    return packet;
  }

  private static <A> Reassembler<A> reassembler() {
    return new Reassembler<>(Reassembler.Limits.DEFAULT);
  }

  @Test
  void peekReadsTypeAndConnectionIdOfOurPacketsAlone() {
    Packet peeked = Packet.peek(record(9)).orElseThrow();
    assertEquals(Packet.Type.RECORD, peeked.type());
    assertEquals(0x636f6e6e65637421L, peeked.connectionId());
    for (int first = 0; first < 256; first++) {
      byte[] packet = record(9);
      packet[0] = (byte) first;
      assertEquals(first >= 0x09 && first <= 0x0e, Packet.peek(packet).isPresent());
    }
    assertTrue(Packet.peek(record(8)).isEmpty());
  }

  @Test
  void largePacketsComeBackWholeFromTheirPartsInAnyOrder() {
    for (int size : new int[] {1_201, 5_000, Packet.MAX_BYTES}) {
      byte[] packet = record(size);
      List<byte[]> parts = Fragments.split(packet, 7, MTU);
      Reassembler<String> reassembler = reassembler();
      for (int n = parts.size() - 1; n > 0; n--) {
        assertTrue(parts.get(n).length <= MTU);
        assertTrue(reassembler.add(parts.get(n), "ann", 0).isEmpty());
        int held = reassembler.heldBytes();
        assertTrue(reassembler.add(parts.get(n), "ann", 0).isEmpty());
        assertEquals(held, reassembler.heldBytes());
      }
      assertArrayEquals(packet, reassembler.add(parts.get(0), "ann", 0).orElseThrow());
      assertEquals(0, reassembler.heldBytes());
    }
    assertEquals(1, Fragments.split(record(MTU), 7, MTU).size());
  }

  @Test
  void whatCannotBeCutIsRefused() {
    byte[] fragment = record(2_000);
    fragment[0] = Fragments.FIRST_BYTE;
    for (byte[] packet : List.of(fragment, new byte[2_000], record(Packet.MAX_BYTES + 1))) {
      assertThrows(IllegalArgumentException.class, () -> Fragments.split(packet, 0, MTU));
    }
    for (int tooSmall : new int[] {1, Fragments.HEADER_BYTES + 1}) {
      byte[] packet = record(2_000);
      assertThrows(IllegalArgumentException.class, () -> Fragments.split(packet, 0, tooSmall));
    }
  }

  @Test
  void partsOfStrangersCostBoundedMemoryForABoundedTime() {
    Reassembler<Integer> reassembler = reassembler();
    Reassembler.Limits limits = Reassembler.Limits.DEFAULT;
    for (int source = 0; source < 300; source++) {
      int before = reassembler.heldBytes();
      for (int message = 0; message < 16; message++) {
        byte[] part = Fragments.split(record(30_000), message, 20_000).get(0);
        assertTrue(reassembler.add(part, source, 0).isEmpty());
        assertTrue(reassembler.heldBytes() <= limits.totalBytes());
        assertTrue(reassembler.heldBytes() - before <= limits.bytesPerSource());
      }
    }
    assertTrue(reassembler.heldBytes() > limits.totalBytes() - limits.bytesPerSource());
    byte[] later = Fragments.split(record(30_000), 99, 20_000).get(0);
    reassembler.add(later, -1, limits.lifetime().toNanos());
    assertTrue(reassembler.heldBytes() < 30_000);
  }

  @Test
  void malformedPartsAreRefused() {
    List<byte[]> parts = Fragments.split(record(3_000), 1, MTU);
    byte[] number = parts.get(0).clone();
    number[11] = number[12];
    byte[] header = Arrays.copyOf(parts.get(0), Fragments.HEADER_BYTES);
    for (byte[] part : List.of(header, number, record(20))) {
      assertThrows(BadFragmentException.class, () -> reassembler().add(part, 0, 0));
    }
  }

  @Test
  void partsWhoseSumIsNoPacketOfTheirConnectionAreRefused() {
    Reassembler<Integer> reassembler = reassembler();
    List<byte[]> parts = Fragments.split(record(3_000), 1, MTU);
    parts.forEach(part -> part[1] ^= 1);
    for (byte[] part : parts.subList(0, 2)) {
      assertEquals(Optional.empty(), reassembler.add(part, 0, 0));
    }
    assertThrows(BadFragmentException.class, () -> reassembler.add(parts.get(2), 0, 0));
    assertFalse(reassembler.heldBytes() > 0);
  }
}
