package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.*;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * Talks to one service: to its target, and to whatever instances the service names. Requests and
 * descriptions are the contract's own messages (package io.noisegate.v1), whose comments are the
 * reference of every field.
 *
 * <p>Calls give futures, which fail with {@link NoisegateException}, {@link RetryNeededException}
 * or {@link ClientClosedException}; one that is cancelled ends its call. Deadlines are those of the
 * {@link io.grpc.Context} in which a call is made, or else the policy's. Everything may be used by
 * several threads at once.
 */
public final class Client implements AutoCloseable {
  final Config config;
  final Background background = new Background();
  final Channels channels;
  final Calls calls;

  /** Null where calls travel alone. */
  final Multiplexer multiplexer;

  Client(Config config) {
    config.checkPlaintext(config.target());
    this.config = config;
    channels = new Channels(config, background);
    calls = new Calls(config, channels, background);
    multiplexer =
        config.multiplex() == null
            ? null
            : new Multiplexer(config, channels, background, calls.options());
  }

  /**
   * Makes a client for the service at HOST:PORT or a gRPC target, in plaintext, for loopback alone.
   * It connects with its first call. Throws InsecureTargetException.
   */
  public static Client connect(String target) {
    return to(target).connect();
  }

  /** Likewise, told how. */
  public static ClientBuilder to(String target) {
    return new ClientBuilder(target);
  }

  /** Ends every connection; calls under way end with ClientClosedException. Sessions live on. */
  @Override
  public void close() {
    channels.close();
    if (multiplexer != null) {
      multiplexer.close();
    }
  }

  /** What the service can do and with which static key it answers. */
  public CompletableFuture<GetCapabilitiesResponse> capabilities() {
    return run(
        scope ->
            calls
                .ask(
                    scope,
                    Methods.GET_CAPABILITIES,
                    "",
                    GetCapabilitiesRequest.getDefaultInstance())
                .thenApply(Calls.Answered::message));
  }

  /**
   * Begins a session with a player's first message. While {@link Session#established()} is empty
   * the pattern needs another message of the player: hand it to {@link Session#proceed}.
   *
   * <p>Reasons: HANDSHAKE_FAILED, UNSUPPORTED_PROTOCOL, POLICY_REJECTED, CLOCK_SKEW,
   * STALE_HANDSHAKE, SESSION_QUOTA, INVALID_REQUEST; DATAGRAM also RetryNeededException.
   */
  public CompletableFuture<Session> respond(RespondHandshake step) {
    Facts begun = Facts.beginning(step.getMode(), step.getPeerId(), step.getGroup());
    HandshakeRequest.Builder request = HandshakeRequest.newBuilder().setRespond(step);
    return begin(scope -> Begin.shake(this, scope, request, begun));
  }

  /** Begins a session towards a player: message 1 is in {@link Session#toPeer()}. */
  public CompletableFuture<Session> initiate(InitiateHandshake step) {
    Facts begun = Facts.beginning(step.getMode(), step.getPeerId(), step.getGroup());
    HandshakeRequest.Builder request = HandshakeRequest.newBuilder().setInitiate(step);
    return begin(scope -> Begin.shake(this, scope, request, begun));
  }

  /**
   * Begins a new session with a ticket that the player brought back; names and options are the
   * ticket's. The player must send a first record: that confirms the resume. TICKET_REJECTED asks
   * for a full handshake; where one came along in the fallback fields it has begun instead, and
   * {@link Session#fellBack()} says so.
   */
  public CompletableFuture<Session> respondResume(RespondResume step) {
    Facts begun = Facts.beginning(step.getMode(), "", "");
    ResumeRequest.Builder request = ResumeRequest.newBuilder().setRespond(step);
    return begin(scope -> Begin.resume(this, scope, request, begun));
  }

  /**
   * Begins a new session with a ticket that the player's side gave us in an earlier one; mode and
   * endpoint are those that it had.
   */
  public CompletableFuture<Session> initiateResume(
      String endpoint, RecordMode mode, InitiateResume step) {
    Facts begun = Facts.beginning(mode, "", "");
    begun.endpoint = endpoint;
    ResumeRequest.Builder request = ResumeRequest.newBuilder().setInitiate(step);
    return begin(scope -> Begin.resume(this, scope, request, begun));
  }

  /**
   * Brings a suspended session back, once: by its id, or by the blob that suspend gave. The
   * endpoint is where it was suspended; empty for the target. SESSION_CLOSED with the cause LOST,
   * BLOB_REJECTED and SESSION_NOT_FOUND say that it cannot come back.
   */
  public CompletableFuture<Session> restore(String endpoint, RestoreSessionRequest source) {
    return begin(scope -> Begin.restore(this, scope, endpoint, source));
  }

  private CompletableFuture<Session> begin(Function<Scope, CompletableFuture<Session>> step) {
    return run(
        scope ->
            step.apply(scope)
                .thenApply(
                    session -> {
                      session.sendToPeer();
                      return session;
                    }));
  }

  /**
   * A handle of a session that lives already; no call is made. Without an endpoint the client's own
   * target is asked, which may send the call on. With DATAGRAM calls run side by side; otherwise
   * those of one direction run one after the other, as NOISE mode needs.
   */
  public Session session(byte[] id, String endpoint, RecordMode mode) {
    Facts facts = Facts.beginning(mode, "", "");
    facts.id = ByteString.copyFrom(id);
    facts.endpoint = endpoint;
    return new Session(this, facts);
  }

  /** A handle of a session that getSession or sessions described; no call is made. */
  public Session adopt(io.noisegate.v1.Session described) {
    return new Session(this, Facts.of(described));
  }

  /** Describes a session, named by its id or, DATAGRAM, by a packet's connection id. */
  public CompletableFuture<io.noisegate.v1.Session> getSession(GetSessionRequest request) {
    return run(
        scope ->
            calls
                .ask(scope, Methods.GET_SESSION, "", request)
                .thenApply(answered -> answered.message().getSession()));
  }

  /**
   * The caller's sessions at one instance (endpoint; empty for the target), in no particular order.
   * The stream asks for page after page as it is read, and waits for each; it throws
   * NoisegateException.
   */
  public Stream<io.noisegate.v1.Session> sessions(String endpoint, ListSessionsRequest request) {
    return Stream.iterate(
            page(endpoint, request),
            page -> page != null,
            page ->
                page.getNextPageToken().isEmpty()
                    ? null
                    : page(
                        endpoint,
                        request.toBuilder().setPageToken(page.getNextPageToken()).build()))
        .flatMap(page -> page.getSessionsList().stream());
  }

  private ListSessionsResponse page(String endpoint, ListSessionsRequest request) {
    try {
      return this.<ListSessionsResponse>run(
              scope ->
                  calls
                      .ask(scope, Methods.LIST_SESSIONS, endpoint, request)
                      .thenApply(Calls.Answered::message))
          .join();
    } catch (CompletionException error) {
      throw Scope.failureOf(error);
    }
  }

  /**
   * Tells what happens to the caller's sessions at one instance (endpoint; empty for the target),
   * as it happens, until the watch is closed or an error ends it: DRAINING when that instance
   * stops, then begin anew. First comes Watching, once: list sessions after it.
   */
  public Watch watch(
      String endpoint, WatchSessionsRequest request, Consumer<WatchSessionsResponse> told) {
    return Watch.begin(this, endpoint, request, told);
  }

  /**
   * Tells that a player is on another network, for all its sessions at one instance. Send to_peer
   * of each change; onSend is not called, because not every session of it may have a handle here.
   */
  public CompletableFuture<List<NetworkChange>> changeNetwork(
      String endpoint, String peerId, Network network) {
    ChangeNetworkRequest request =
        ChangeNetworkRequest.newBuilder()
            .setRequestId(Calls.newRequestId())
            .setNetwork(network)
            .setPeerId(peerId)
            .build();
    return run(
        scope ->
            calls
                .ask(scope, Methods.CHANGE_NETWORK, endpoint, request)
                .thenApply(answered -> answered.message().getChangesList()));
  }

  /**
   * Seals many plaintexts, of one session or of many, in few calls. There is a result for each
   * item, in their order: an item that is refused leaves the others as they are, and a call that
   * fails is the error of its items.
   */
  public CompletableFuture<List<Result<Sealed>>> encryptBatch(List<Item> items) {
    return run(scope -> new Batch(this, scope).encrypt(List.copyOf(items)));
  }

  /** Opens many packets, likewise; a refused packet is a result. */
  public CompletableFuture<List<Result<Opened>>> decryptBatch(List<Item> items) {
    return run(scope -> new Batch(this, scope).decrypt(List.copyOf(items)));
  }

  /** Seals one plaintext for every session of a room, in their order. */
  public CompletableFuture<List<Result<Sealed>>> broadcast(
      List<Session> sessions, byte[] plaintext, byte[] associatedData) {
    List<Item> items = new ArrayList<>(sessions.size());
    sessions.forEach(session -> items.add(new Item(session, plaintext, associatedData)));
    return run(scope -> new Batch(this, scope).broadcast(items, plaintext, associatedData));
  }

  <T> CompletableFuture<T> run(Function<Scope, CompletableFuture<T>> call) {
    return Scope.run(config, background, call);
  }
}
