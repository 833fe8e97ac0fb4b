package io.noisegate;

import java.util.List;
import java.util.Optional;

/**
 * What one packet of a player was.
 *
 * @param session of the packet; null where it has none
 * @param opened what the record was; null where the packet was no record, or was refused
 * @param payload of a handshake message; possibly replayed until a first record has opened
 * @param earlyData what a resuming player sent along. Until a first record opens, whoever has its
 *     ticket's key may have sent it
 * @param toSend each of these in this order, each as one datagram
 * @param newSession this packet began the session, as far as this receiver knows
 * @param established with this packet the handshake finished, records may flow
 * @param closed the session has ended, and the receiver has forgotten it
 * @param moved the player is followed to the address that this packet came from
 * @param withheld how many messages were not sent, because their address has not proved that it
 *     wants them
 * @param refused why the packet was dropped, a constant of {@link Reason}; empty where it was not
 */
public record Received<A>(
    Session session,
    Opened.Opening opened,
    byte[] payload,
    byte[] earlyData,
    List<Datagram<A>> toSend,
    boolean newSession,
    boolean established,
    boolean closed,
    boolean moved,
    int withheld,
    String refused) {

  private static final byte[] NONE = {};

  /** What the player wrote for the game; empty where the packet had nothing for it. */
  public Optional<byte[]> plaintext() {
    return opened instanceof Opened.Data data ? Optional.of(data.plaintext()) : Optional.empty();
  }

  static <A> Received<A> of(Session session) {
    return new Received<>(session, null, NONE, NONE, List.of(), false, false, false, false, 0, "");
  }

  static <A> Received<A> dropped(Session session, String reason, boolean closed) {
    return new Received<>(
        session, null, NONE, NONE, List.of(), false, false, closed, false, 0, reason);
  }

  static <A> Received<A> retry(Outgoing<A> outgoing, String reason) {
    return new Received<>(
        null,
        null,
        NONE,
        NONE,
        outgoing.toSend,
        false,
        false,
        false,
        false,
        outgoing.withheld,
        reason);
  }

  static <A> Received<A> step(
      Session session, byte[] payload, Outgoing<A> outgoing, boolean fresh, boolean established) {
    return new Received<>(
        session,
        null,
        payload,
        NONE,
        outgoing.toSend,
        fresh,
        established,
        false,
        false,
        outgoing.withheld,
        "");
  }

  static <A> Received<A> record(
      Session session,
      Opened.Opening opened,
      Outgoing<A> outgoing,
      boolean fresh,
      boolean closed,
      boolean moved) {
    return new Received<>(
        session,
        opened,
        NONE,
        NONE,
        outgoing.toSend,
        fresh,
        false,
        closed,
        moved,
        outgoing.withheld,
        "");
  }

  Received<A> with(byte[] early) {
    return new Received<>(
        session,
        opened,
        payload,
        early,
        toSend,
        newSession,
        established,
        closed,
        moved,
        withheld,
        refused);
  }

  /** What may go to an address, and how many messages it may not get. */
  record Outgoing<A>(List<Datagram<A>> toSend, int withheld) {}
}
