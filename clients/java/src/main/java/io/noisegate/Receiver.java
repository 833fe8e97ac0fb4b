package io.noisegate;

import io.noisegate.Received.Outgoing;
import io.noisegate.SessionTable.Tracked;
import io.noisegate.v1.NetworkChange;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A UDP game's receive path: hand it every packet of every player, send what it gives back. It
 * holds no key. Addresses are of any type A with equals and hashCode, e.g. {@link
 * java.net.SocketAddress}.
 *
 * <p>It picks the RPC by the packet's first bytes, keeps the handle of every session by connection
 * id, and decides where a session's bytes go: it follows a player to a new address only after a
 * record from there opened and was the newest so far, and sends to an address that has proved
 * nothing at most three times what came from it. What does not fit is dropped, not queued. So after
 * {@link Received#moved()} send one small challenge there, repeat it now and then, and nothing of
 * an ordered stream, until the player has echoed it: then call {@link #markVerified}. The client's
 * onSend is not called for what a receiver sends.
 *
 * <p>Everything may be called by several threads at once.
 */
public final class Receiver<A> {
  final Client client;
  final ReceiverOptions<A> options;
  final SessionTable<A> sessions;
  final Reassembler<A> parts;
  private int messageId = ThreadLocalRandom.current().nextInt();

  /** One that admits anyone. */
  public Receiver(Client client) {
    this(client, ReceiverOptions.defaults());
  }

  /** The receive path of a client. */
  public Receiver(Client client, ReceiverOptions<A> options) {
    this.client = client;
    this.options = options;
    sessions = new SessionTable<>(options.maxSessions());
    parts = new Reassembler<>(options.reassembly());
  }

  /**
   * Handles one packet of a player. What a forger or a bad network makes is a result with {@link
   * Received#refused()}; the future fails for a trouble of the service's or the caller's own.
   */
  public CompletableFuture<Received<A>> receive(byte[] packet, A source) {
    return client.run(scope -> new Arrival<>(this, scope, source).of(packet));
  }

  /**
   * Takes up a session that began elsewhere, e.g. by {@link Client#initiate}. Its first toPeer is
   * the game's to send, by way of {@link #cut}. verified: the game knows that the address wants to
   * be sent to.
   */
  public synchronized void add(Session session, A address, boolean verified) {
    PlayerPath<A> path = new PlayerPath<>(address, 0, true);
    path.verified = verified;
    sessions.sent(sessions.add(session, path, expiry(session)), session.toPeer());
  }

  /**
   * The datagrams of messages that the game sends wherever it wants: each no larger than the mtu.
   */
  public synchronized List<byte[]> cut(List<byte[]> messages) {
    List<byte[]> datagrams = new ArrayList<>();
    messages.forEach(message -> datagrams.addAll(datagrams(message)));
    return datagrams;
  }

  /**
   * Where the game's own messages ({@link Sealed#messages()}, toPeer) go now. It leaves out what an
   * address may not get yet, and gives nothing for a session that this receiver does not know. What
   * is larger than the mtu goes as fragments and is lost with any of them: keep records below it,
   * which are 32 bytes longer than their plaintexts.
   */
  public synchronized List<Datagram<A>> route(Session session, List<byte[]> messages) {
    Tracked<A> tracked = sessions.get(session);
    return tracked == null ? List.of() : allowed(tracked.path, messages).toSend();
  }

  /**
   * Route for what a change of network brings about: send it nowhere else. It begins with a
   * question; once the player has answered that from there, the address is verified.
   */
  public synchronized List<Datagram<A>> routeChange(Session session, NetworkChange change) {
    Tracked<A> tracked = sessions.get(session);
    if (tracked == null) {
      return List.of();
    }
    tracked.path.ask(change.getToken());
    return allowed(tracked.path, Records.bytesOf(change.getToPeerList())).toSend();
  }

  /**
   * Where the session's player is, as far as its records have shown; empty for one that is not
   * known.
   */
  public synchronized Optional<A> address(Session session) {
    return Optional.ofNullable(sessions.get(session)).map(tracked -> tracked.path.address);
  }

  /** Whether that address has proved that it gets what is sent to it. */
  public synchronized boolean isVerified(Session session) {
    Tracked<A> tracked = sessions.get(session);
    return tracked != null && tracked.path.verified;
  }

  /**
   * Lifts the limit of an address after a proof of the game's own: a random value, sealed, sent
   * there and echoed in a record. Nothing happens if the player has moved on from it.
   */
  public synchronized void markVerified(Session session, A address) {
    Tracked<A> tracked = sessions.get(session);
    if (tracked != null && tracked.path.address.equals(address)) {
      tracked.path.verified = true;
    }
  }

  /** Drops the handle, e.g. after its end. The service still knows the session if it lives. */
  public synchronized void forget(Session session) {
    sessions.remove(session);
  }

  /** When a handshake is given up; null for one that is finished. */
  Long expiry(Session session) {
    return session.established().isPresent()
        ? null
        : Long.valueOf(options.clock().getAsLong() + session.pendingFor().toNanos());
  }

  /** The datagrams for the path's address: a message goes whole or not at all. */
  Outgoing<A> allowed(PlayerPath<A> path, List<byte[]> messages) {
    List<Datagram<A>> toSend = new ArrayList<>();
    int withheld = 0;
    for (byte[] message : messages) {
      List<byte[]> datagrams = datagrams(message);
      if (path.maySend(datagrams.stream().mapToInt(datagram -> datagram.length).sum())) {
        datagrams.forEach(datagram -> toSend.add(new Datagram<>(datagram, path.address)));
      } else {
        withheld += 1;
      }
    }
    return new Outgoing<>(toSend, withheld);
  }

  private List<byte[]> datagrams(byte[] message) {
    if (message.length <= options.mtu() || !Fragments.mayBeCut(message)) {
      return List.of(message);
    }
    messageId += 1;
    return Fragments.split(message, messageId, options.mtu());
  }
}
