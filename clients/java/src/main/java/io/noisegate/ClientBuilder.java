package io.noisegate;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannelBuilder;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Says how a client connects. Without {@link #tls} it is for loopback alone. */
public final class ClientBuilder {
  private final String target;
  private Policy policy = Policy.DEFAULT;
  private Multiplex multiplex;
  private ChannelCredentials tls;
  private boolean insecure;
  private Supplier<String> token;
  private BiConsumer<Session, List<byte[]>> onSend;
  private Consumer<Map<String, String>> inject;
  private List<ClientInterceptor> interceptors = List.of();
  private Consumer<ManagedChannelBuilder<?>> channel;

  ClientBuilder(String target) {
    this.target = target;
  }

  /**
   * Connects by TLS: {@link io.grpc.TlsChannelCredentials}. With a key manager it is mutual TLS,
   * which names the caller (a SPIFFE id as a rule). It holds for every endpoint that the service
   * names.
   */
  public ClientBuilder tls(ChannelCredentials credentials) {
    tls = credentials;
    return this;
  }

  /**
   * Sends a bearer token with every call. It is asked each time, may block, and keeps its own
   * cache. It needs TLS, but for loopback.
   */
  public ClientBuilder token(Supplier<String> bearer) {
    token = bearer;
    return this;
  }

  /**
   * Allows plaintext to addresses beyond loopback, for a network that you trust: plaintexts and
   * pre-shared keys travel on it.
   */
  public ClientBuilder insecure() {
    insecure = true;
    return this;
  }

  /** Deadlines and repeats. */
  public ClientBuilder policy(Policy calls) {
    policy = calls;
    return this;
  }

  /**
   * Lets encrypt and decrypt of all sessions travel together, in batches on one stream to each
   * endpoint; the game's own batches are on it, too. The service's policy must grant Transport,
   * EncryptBatch and DecryptBatch, and Broadcast where it is used.
   */
  public ClientBuilder multiplex(Multiplex batches) {
    multiplex = batches;
    return this;
  }

  /**
   * Sends what the service has for players besides what was asked for: each message on its own, in
   * this order. It is called before the future of the call that brought them completes, whose
   * toPeer is then empty. It must not wait for the session. The records that encrypt seals are the
   * caller's own to send.
   */
  public ClientBuilder onSend(BiConsumer<Session, List<byte[]>> send) {
    onSend = send;
    return this;
  }

  /**
   * Called with the headers of each call before it is sent, on its caller's thread, to carry the
   * trace context along: {@code headers -> propagator.inject(Context.current(), headers,
   * Map::put)}.
   */
  public ClientBuilder inject(Consumer<Map<String, String>> headers) {
    inject = headers;
    return this;
  }

  /** Interceptors of gRPC, for every call and stream. */
  public ClientBuilder interceptors(ClientInterceptor... all) {
    interceptors = List.of(all);
    return this;
  }

  /** Changes each connection's builder of gRPC, after this SDK has. */
  public ClientBuilder channel(Consumer<ManagedChannelBuilder<?>> change) {
    channel = change;
    return this;
  }

  /** Makes the client; it connects with its first call. Throws InsecureTargetException. */
  public Client connect() {
    return new Client(
        new Config(
            target,
            policy,
            multiplex,
            tls,
            insecure,
            token == null ? null : new Bearer(token),
            onSend,
            inject,
            interceptors,
            channel));
  }
}
