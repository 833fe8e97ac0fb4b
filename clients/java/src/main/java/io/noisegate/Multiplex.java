package io.noisegate;

import java.time.Duration;

/**
 * How calls of many sessions travel together.
 *
 * @param tick how long a batch collects calls: at most 100 ms
 * @param maxItems of one batch, which goes at once when it has them: at most 1,024
 * @param maxBytes of its plaintexts or records: at most 1,310,720; a longer call goes alone
 */
public record Multiplex(Duration tick, int maxItems, int maxBytes) {

  private static final Duration LONGEST_TICK = Duration.ofMillis(100);

  /** 1 ms, 256 items, 256 KiB. */
  public static final Multiplex DEFAULT = new Multiplex(Duration.ofMillis(1), 256, 256 << 10);

  /** Throws IllegalArgumentException. */
  public Multiplex {
    if (tick.isNegative() || tick.compareTo(LONGEST_TICK) > 0) {
      throw new IllegalArgumentException("tick must be at most 100 ms");
    }
    if (maxItems < 1 || maxItems > Packing.MAX_BATCH_ITEMS) {
      throw new IllegalArgumentException("maxItems must be from 1 to 1,024");
    }
    if (maxBytes < 1 || maxBytes > Packing.MAX_BATCH_BYTES) {
      throw new IllegalArgumentException("maxBytes must be from 1 to 1,310,720");
    }
  }

  /** The same with another tick. */
  public Multiplex withTick(Duration longer) {
    return new Multiplex(longer, maxItems, maxBytes);
  }

  /** The same with another number of items. */
  public Multiplex withMaxItems(int most) {
    return new Multiplex(tick, most, maxBytes);
  }

  /** The same with another number of bytes. */
  public Multiplex withMaxBytes(int most) {
    return new Multiplex(tick, maxItems, most);
  }
}
