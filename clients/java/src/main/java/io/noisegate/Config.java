package io.noisegate;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a client was told; null for what it was not. {@link ClientBuilder} explains each. */
record Config(
    String target,
    Policy policy,
    Multiplex multiplex,
    ChannelCredentials tls,
    boolean insecure,
    CallCredentials token,
    BiConsumer<Session, List<byte[]>> onSend,
    Consumer<Map<String, String>> inject,
    List<ClientInterceptor> interceptors,
    Consumer<ManagedChannelBuilder<?>> channel) {

  /** A page of 1,000 sessions is the longest answer. */
  private static final int MAX_MESSAGE_BYTES = 4 << 20;

  private static final Pattern HOST_PORT = Pattern.compile("\\[?(.*?)]?:\\d+");
  private static final Pattern LOOPBACK =
      Pattern.compile("localhost|::1|127\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}");

  /** The address of an endpoint, empty for the client's own target. */
  String addressOf(String endpoint) {
    return endpoint.isEmpty() ? target : endpoint;
  }

  /** Makes a connection; it connects with its first call. Throws InsecureTargetException. */
  ManagedChannel dial(String address, Executor executor) {
    checkPlaintext(address);
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(address, tls == null ? InsecureChannelCredentials.create() : tls)
            .executor(executor)
            // New sessions spread over the instances behind a headless name; a session's own calls
            // go
            // to its one endpoint. A name server must not be able to change how calls are repeated.
            .defaultLoadBalancingPolicy("round_robin")
            .disableServiceConfigLookUp()
            .disableRetry()
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(true)
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .userAgent("noisegate-java")
            .intercept(interceptors);
    if (channel != null) {
      channel.accept(builder);
    }
    return builder.build();
  }

  /** The headers of a call: what inject adds. */
  Metadata headers() {
    Metadata metadata = new Metadata();
    if (inject != null) {
      Map<String, String> headers = new HashMap<>();
      inject.accept(headers);
      headers.forEach(
          (name, value) ->
              metadata.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value));
    }
    return metadata;
  }

  /** An endpoint comes from the service, too, and must not talk this client out of TLS. */
  void checkPlaintext(String address) {
    if (tls == null && !isLoopback(address) && !(insecure && token == null)) {
      throw new InsecureTargetException(address);
    }
  }

  /** Whether HOST:PORT or a unix: address stays on this machine; of names only localhost does. */
  private static boolean isLoopback(String address) {
    if (address.startsWith("unix:")) {
      return true;
    }
    Matcher parts = HOST_PORT.matcher(address);
    return parts.matches() && LOOPBACK.matcher(parts.group(1)).matches();
  }
}
