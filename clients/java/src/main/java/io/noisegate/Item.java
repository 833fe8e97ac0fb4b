package io.noisegate;

/**
 * One of a batch.
 *
 * @param session that it is for
 * @param body a plaintext to seal or a packet to open
 * @param associatedData authenticated, not sent; may be empty
 */
public record Item(Session session, byte[] body, byte[] associatedData) {
  private static final byte[] NONE = {};

  /** One without associated data. */
  public Item(Session session, byte[] body) {
    this(session, body, NONE);
  }
}
