package io.noisegate;

import com.google.protobuf.ByteString;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;

/**
 * Sessions by connection id and by id: at most limit that live and limit half-open ones, each the
 * latest used. Apart, so that a flood of forged first packets cannot push out sessions that live.
 */
final class SessionTable<A> {

  /** A session that a receiver knows. */
  static final class Tracked<A> {
    final Session session;
    final PlayerPath<A> path;
    private final ByteString id;

    /** When its handshake is given up; null once it is established. */
    private Long expiresAt;

    private final Set<Long> connectionIds = new HashSet<>();

    /**
     * What a RETRY to a packet with which the game began it would carry, while its handshake has
     * not finished.
     */
    private final Set<Long> echoes = new HashSet<>();

    private Tracked(Session session, PlayerPath<A> path, Long expiresAt) {
      this.session = session;
      this.id = session.idBytes();
      this.path = path;
      this.expiresAt = expiresAt;
    }
  }

  private final int limit;
  private final Map<ByteString, Tracked<A>> byId = new HashMap<>();
  private final Map<Long, Tracked<A>> byConnection = new HashMap<>();
  private final Map<Long, Tracked<A>> byEcho = new HashMap<>();

  /** The longest unused first. */
  private final Map<ByteString, Tracked<A>> live = new LinkedHashMap<>(16, 0.75f, true);

  /** The oldest first. */
  private final Map<ByteString, Tracked<A>> halfOpen = new LinkedHashMap<>();

  SessionTable(int limit) {
    this.limit = limit;
  }

  int size() {
    return byId.size();
  }

  /** The session whose player's packets carry this connection id; null for none. */
  Tracked<A> find(long connectionId) {
    Tracked<A> found = byConnection.get(connectionId);
    if (found != null && found.expiresAt == null) {
      live.get(found.id);
    }
    return found;
  }

  /** The session; null where it is not known. */
  Tracked<A> get(Session session) {
    return byId.get(session.idBytes());
  }

  /** Takes up a session; one without an expiry is established. */
  Tracked<A> add(Session session, PlayerPath<A> path, Long expiresAt) {
    remove(session);
    Tracked<A> made = new Tracked<>(session, path, expiresAt);
    byId.put(made.id, made);
    put(made, expiresAt == null ? live : halfOpen);
    byte[] connectionId = session.connectionId();
    if (connectionId.length == Packet.CONNECTION_ID_BYTES) {
      alias(made, Packet.longAt(connectionId, 0));
    }
    return made;
  }

  private void put(Tracked<A> known, Map<ByteString, Tracked<A>> place) {
    place.put(known.id, known);
    if (place.size() > limit) {
      drop(place.values().iterator().next());
    }
  }

  private boolean isKnown(Tracked<A> known) {
    return byId.get(known.id) == known;
  }

  /** The player's packets carry this connection id, too. */
  void alias(Tracked<A> known, long connectionId) {
    if (connectionId != 0 && isKnown(known)) {
      byConnection.put(connectionId, known);
      known.connectionIds.add(connectionId);
    }
  }

  /** The game began this session with these packets, or began it anew. */
  void sent(Tracked<A> known, List<byte[]> packets) {
    if (known.expiresAt == null || !isKnown(known)) {
      return;
    }
    for (byte[] packet : packets) {
      long echo = Packet.echoOf(packet);
      byEcho.put(echo, known);
      known.echoes.add(echo);
    }
  }

  /**
   * The half-open session that sent the packet which a RETRY with this echo refuses; null for none.
   */
  Tracked<A> thatSent(byte[] packet) {
    OptionalLong echo = Packet.echoIn(packet);
    return echo.isPresent() ? byEcho.get(echo.getAsLong()) : null;
  }

  /** The session is established. */
  void settle(Tracked<A> known) {
    forgetEchoes(known);
    if (known.expiresAt == null || !isKnown(known)) {
      return;
    }
    known.expiresAt = null;
    halfOpen.remove(known.id);
    put(known, live);
  }

  /** Forgets handshakes that nobody finished. */
  void expire(long now) {
    while (!halfOpen.isEmpty()) {
      Tracked<A> oldest = halfOpen.values().iterator().next();
      if (oldest.expiresAt - now > 0) {
        return;
      }
      drop(oldest);
    }
  }

  /** Forgets a session; nothing happens if it is not known. */
  void remove(Session session) {
    Tracked<A> known = get(session);
    if (known != null) {
      drop(known);
    }
  }

  private void drop(Tracked<A> known) {
    byId.remove(known.id);
    live.remove(known.id);
    halfOpen.remove(known.id);
    forgetEchoes(known);
    known.connectionIds.forEach(connectionId -> byConnection.remove(connectionId, known));
  }

  private void forgetEchoes(Tracked<A> known) {
    known.echoes.forEach(echo -> byEcho.remove(echo, known));
    known.echoes.clear();
  }
}
