package io.noisegate;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import io.noisegate.Methods.Method;
import io.noisegate.Turns.Direction;
import io.noisegate.v1.*;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A handle of one player's session. Everything may be called by several threads at once; a future
 * that is cancelled ends its call.
 *
 * <p>In NOISE mode a record's counter travels with nobody: calls of one direction run one after the
 * other, and one that ends with DEADLINE_EXCEEDED or UNAVAILABLE, or is cancelled, may have moved
 * the counter all the same; then the session is best closed and resumed. In DATAGRAM mode calls run
 * side by side, and a lost answer costs one packet.
 */
public final class Session implements AutoCloseable {
  private static final byte[] NONE = {};
  private static final List<Direction> SENDING = List.of(Direction.SENDING);
  private static final List<Direction> RECEIVING = List.of(Direction.RECEIVING);

  final Client client;
  private final Facts facts;

  /** Null where calls run side by side. */
  private final Turns turns;

  Session(Client client, Facts facts) {
    this.client = client;
    this.facts = facts;
    this.turns =
        facts.mode == RecordMode.RECORD_MODE_DATAGRAM ? null : new Turns(client.background);
  }

  /** Never shows ids or names: they find sessions and people, and belong in no log by accident. */
  @Override
  public String toString() {
    return ended() ? "noisegate session (ended)" : "noisegate session";
  }

  /** The session's: 24 bytes, opaque. */
  public byte[] id() {
    return idBytes().toByteArray();
  }

  /** HOST:PORT where the session lives; empty for the client's own target. */
  public String endpoint() {
    return known(facts -> facts.endpoint);
  }

  /** How its records travel; unspecified for a handle made from an id alone. */
  public RecordMode mode() {
    return known(facts -> facts.mode);
  }

  /** What the player's packets carry (DATAGRAM): 8 bytes. */
  public byte[] connectionId() {
    return known(facts -> facts.connectionId).toByteArray();
  }

  /** The player, as the game (or the ticket) named it. */
  public String peerId() {
    return known(facts -> facts.peerId);
  }

  /** The match, room or table, as the game (or the ticket) named it. */
  public String group() {
    return known(facts -> facts.group);
  }

  /** What the handshake gave; empty before its end, and for a handle made from an id alone. */
  public Optional<Established> established() {
    return known(facts -> Optional.ofNullable(facts.established));
  }

  /** How long after its last step the handshake is given up; zero once it is finished. */
  public Duration pendingFor() {
    return known(facts -> facts.pendingFor);
  }

  /**
   * What the last step of the handshake, or the end, wants sent to the player, in this order, each
   * on its own. Empty where onSend has it.
   */
  public List<byte[]> toPeer() {
    return known(facts -> facts.toPeer);
  }

  /** Of the player's last handshake message; possibly replayed until a first record has opened. */
  public byte[] payload() {
    return known(facts -> facts.payload).toByteArray();
  }

  /** What the game's framing must carry beside message 1 (NOISE, initiating with an offer). */
  public byte[] hello() {
    return known(facts -> facts.hello).toByteArray();
  }

  /** What the game's framing must carry beside message 1 (NOISE, initiating a resume). */
  public byte[] ticket() {
    return known(facts -> facts.ticket).toByteArray();
  }

  /** What became of a resume's early data. */
  public EarlyData early() {
    return known(facts -> facts.early);
  }

  /**
   * The player's early data, where it was accepted. Secret. Until a first record has opened,
   * whoever has the ticket's key may have sent it.
   */
  public byte[] earlyData() {
    return known(facts -> facts.earlyData).toByteArray();
  }

  /** The ticket was refused, and this is the session of the full handshake that came beside it. */
  public boolean fellBack() {
    return known(facts -> facts.fellBack);
  }

  /** Whether this handle has seen the session end. */
  public boolean ended() {
    return known(facts -> facts.ended);
  }

  /**
   * Hands over the player's next handshake message, in DATAGRAM mode its packet; look at {@link
   * #established()} afterwards. Gives what to send to the player.
   */
  public CompletableFuture<List<byte[]>> proceed(byte[] message) {
    return proceed(message, NONE);
  }

  /** With the payload of our next message; a resume has none. */
  public CompletableFuture<List<byte[]>> proceed(byte[] message, byte[] payload) {
    return client.run(
        scope -> Begin.proceed(this, scope, message, payload).thenApply(done -> sendToPeer()));
  }

  /**
   * Seals one plaintext for the player: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM
   * mode. Send the messages of the result. REKEY_REQUIRED asks for {@link #rotate}.
   */
  public CompletableFuture<Sealed> encrypt(byte[] plaintext) {
    return encrypt(plaintext, NONE);
  }

  /** With associated data: at most 1,024 bytes, authenticated, not sent. */
  public CompletableFuture<Sealed> encrypt(byte[] plaintext, byte[] associatedData) {
    return client.run(
        scope ->
            inTurn(scope, SENDING, () -> seal(scope, plaintext, associatedData))
                .thenApply(this::handed));
  }

  private CompletableFuture<Sealed> seal(Scope scope, byte[] plaintext, byte[] associatedData) {
    if (travelsTogether()) {
      Bundle.Kind kind = turns == null ? Bundle.Kind.SEAL : Bundle.Kind.SEAL_IN_TURN;
      Piece piece = new Piece(idBytes(), plaintext, associatedData);
      return noticed(client.multiplexer.enter(scope, endpoint(), kind, piece))
          .thenApply(Sealed.class::cast);
    }
    EncryptRequest request =
        EncryptRequest.newBuilder()
            .setSessionId(idBytes())
            .setRequestId(Calls.newRequestId())
            .setPlaintext(ByteString.copyFrom(plaintext))
            .setAssociatedData(ByteString.copyFrom(associatedData))
            .build();
    return ask(scope, Methods.ENCRYPT, request).thenApply(Records::sealed);
  }

  /**
   * Opens one record of the player: at most 65,535 bytes. What was forged, replayed or too late is
   * {@link Opened.Refused}, not an error. Send toPeer of the result.
   */
  public CompletableFuture<Opened> decrypt(byte[] ciphertext) {
    return decrypt(ciphertext, NONE);
  }

  /** A record that the player sealed with associated data. */
  public CompletableFuture<Opened> decrypt(byte[] ciphertext, byte[] associatedData) {
    return client.run(
        scope -> open(scope, ciphertext, associatedData, false).thenApply(this::handed));
  }

  /** A record that holds a ticket for us (NOISE); the service keeps it for initiateResume. */
  public CompletableFuture<Opened> decryptTicket(byte[] ciphertext) {
    return client.run(scope -> open(scope, ciphertext, NONE, true).thenApply(this::handed));
  }

  /** Leaves toPeer to its caller. */
  CompletableFuture<Opened> open(
      Scope scope, byte[] ciphertext, byte[] associatedData, boolean ticket) {
    return inTurn(
        scope,
        RECEIVING,
        () -> {
          if (travelsTogether() && !ticket) {
            Piece piece = new Piece(idBytes(), ciphertext, associatedData);
            return noticed(client.multiplexer.enter(scope, endpoint(), Bundle.Kind.OPEN, piece))
                .thenApply(Opened.class::cast)
                .thenApply(this::noticeClose);
          }
          DecryptRequest request =
              DecryptRequest.newBuilder()
                  .setSessionId(idBytes())
                  .setRequestId(Calls.newRequestId())
                  .setCiphertext(ByteString.copyFrom(ciphertext))
                  .setAssociatedData(ByteString.copyFrom(associatedData))
                  .setTicket(ticket)
                  .build();
          return ask(scope, Methods.DECRYPT, request)
              .thenApply(Records::opened)
              .exceptionally(error -> Records.refused(id(), Scope.failureOf(error)))
              .thenApply(this::noticeClose);
        });
  }

  /**
   * Changes keys (docs/protocol.md, section 4); session_id and request_id of the request are filled
   * in here. DATAGRAM: its kind is all, and the rest travels in toPeer by itself. NOISE, REKEY: its
   * direction names which. NOISE, RENEGOTIATE: step by step, with what the player sent inside the
   * session as its message. EPOCH_CONFLICT: another rotation came first.
   *
   * <p>In NOISE mode to_peer is the game's to send, inside the session; in DATAGRAM mode it is
   * onSend's where there is one.
   */
  public CompletableFuture<RotateResponse> rotate(RotateRequest request) {
    return client.run(scope -> Lifecycle.rotate(this, scope, request));
  }

  /**
   * Makes a single-use resumption ticket and seals it for the player: to_peer has it, or onSend.
   */
  public CompletableFuture<IssueTicketResponse> issueTicket() {
    return client.run(scope -> Lifecycle.issueTicket(this, scope));
  }

  /**
   * Derives a key for something beside the session, such as a voice channel, which the player
   * derives too: of length 16 to 255 bytes, for a label of 1 to 64. The service's policy must name
   * ExportSecret for this caller. The result is secret.
   */
  public CompletableFuture<byte[]> exportSecret(String label, byte[] context, int length) {
    return client.run(scope -> Lifecycle.exportSecret(this, scope, label, context, length));
  }

  /**
   * Takes the session out of the service's memory, e.g. while its player is away; {@link
   * Client#restore} brings it back. With returnBlob (DATAGRAM) the answer has the sealed session
   * and the service keeps nothing.
   */
  public CompletableFuture<SuspendSessionResponse> suspend(boolean returnBlob) {
    return client.run(scope -> Lifecycle.suspend(this, scope, returnBlob));
  }

  /**
   * Tells that the player is on another network: WIFI gives new keys, CELLULAR a longer keep-alive,
   * both bring a suspended session back; NONE suspends.
   *
   * <p>to_peer of the answer stays there and is not onSend's: it begins with a question, which must
   * go to one address alone ({@link Receiver#routeChange}).
   */
  public CompletableFuture<NetworkChange> changeNetwork(Network network) {
    return client.run(scope -> Lifecycle.changeNetwork(this, scope, network));
  }

  /** Asks the service what it knows about the session. */
  public CompletableFuture<io.noisegate.v1.Session> describe() {
    GetSessionRequest request = GetSessionRequest.newBuilder().setSessionId(idBytes()).build();
    return client.run(
        scope ->
            ask(scope, Methods.GET_SESSION, request).thenApply(GetSessionResponse::getSession));
  }

  /**
   * Ends the session or its handshake and gives what the player should still get (DATAGRAM: a close
   * record), where no onSend has it. It is no error where the session has ended already.
   */
  public CompletableFuture<List<byte[]>> end() {
    return client.run(scope -> Lifecycle.end(this, scope));
  }

  /**
   * Ends the session, and waits for it. For what the player should still get, call {@link #end()}.
   */
  @Override
  public void close() {
    try {
      end().join();
    } catch (RuntimeException error) {
      throw Scope.failureOf(error);
    }
  }

  ByteString idBytes() {
    return known(facts -> facts.id);
  }

  synchronized <T> T known(Function<Facts, T> read) {
    return read.apply(facts);
  }

  synchronized void change(Consumer<Facts> change) {
    change.accept(facts);
  }

  /** Whether calls of one direction run one after the other. */
  boolean takesTurns() {
    return turns != null;
  }

  CompletableFuture<Runnable> takeTurn(Scope scope, Direction direction) {
    return turns.take(scope, List.of(direction));
  }

  <T> CompletableFuture<T> inTurn(
      Scope scope, List<Direction> directions, Supplier<CompletableFuture<T>> call) {
    return turns == null ? Scope.begun(call) : turns.run(scope, directions, call);
  }

  /** Runs a call where the session lives. */
  <I extends Message, O extends Message> CompletableFuture<O> ask(
      Scope scope, Method<I, O> method, I request) {
    return noticed(client.calls.ask(scope, method, endpoint(), request))
        .thenApply(
            answered -> {
              change(facts -> facts.endpoint = answered.endpoint());
              return answered.message();
            });
  }

  private boolean travelsTogether() {
    return client.multiplexer != null && idBytes().size() == Packing.SESSION_ID_BYTES;
  }

  private <T> CompletableFuture<T> noticed(CompletableFuture<T> asked) {
    return asked.whenComplete(
        (value, error) -> {
          if (error != null) {
            notice(Scope.causeOf(error));
          }
        });
  }

  /** Remembers where an error says that the session has ended. */
  void notice(Throwable error) {
    if (error instanceof ResumeNeededException) {
      change(facts -> facts.ended = true);
    }
  }

  /** Remembers that the player closed the session. */
  Opened noticeClose(Opened opened) {
    if (opened instanceof Opened.Control control
        && control.kind() == ControlKind.CONTROL_KIND_CLOSE) {
      change(facts -> facts.ended = true);
    }
    return opened;
  }

  Sealed handed(Sealed sealed) {
    return hand(sealed.toPeer()) ? Records.withoutToPeer(sealed) : sealed;
  }

  Opened handed(Opened opened) {
    return hand(Records.toPeer(opened)) ? Records.withoutToPeer(opened) : opened;
  }

  /** Gives messages to onSend, where there is one; whether it has them. */
  boolean hand(List<byte[]> messages) {
    if (client.config.onSend() == null || messages.isEmpty()) {
      return false;
    }
    client.config.onSend().accept(this, messages);
    return true;
  }

  /**
   * Hands what the last step has for the player to onSend, where there is one; gives what is left.
   */
  List<byte[]> sendToPeer() {
    List<byte[]> messages = toPeer();
    if (hand(messages)) {
      change(facts -> facts.toPeer = List.of());
    }
    return toPeer();
  }
}
