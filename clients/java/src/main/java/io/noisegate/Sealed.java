package io.noisegate;

import java.util.ArrayList;
import java.util.List;

/**
 * A record for the player.
 *
 * @param packet the record
 * @param toPeer must go to the player besides, before it, each on its own; empty where onSend has
 *     them
 * @param counter of the record, unsigned; never used twice under one key
 * @param epoch of the record's key
 * @param rotationDue a soft limit of age or use is passed, rotate soon
 */
public record Sealed(
    byte[] packet, List<byte[]> toPeer, long counter, int epoch, boolean rotationDue) {

  /** Everything to send to the player, in order: toPeer, then the record. */
  public List<byte[]> messages() {
    List<byte[]> messages = new ArrayList<>(toPeer);
    messages.add(packet);
    return messages;
  }
}
