import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.noisegate.Client;
import io.noisegate.ClientBuilder;
import io.noisegate.Item;
import io.noisegate.Multiplex;
import io.noisegate.Policy;
import io.noisegate.Receiver;
import io.noisegate.Session;
import io.noisegate.v1.Direction;
import io.noisegate.v1.InitiateHandshake;
import io.noisegate.v1.RespondHandshake;
import io.noisegate.v1.RespondResume;
import io.noisegate.v1.RestoreSessionRequest;
import io.noisegate.v1.RotateRequest;
import io.noisegate.v1.RotateResponse;
import io.noisegate.v1.RotationKind;
import io.noisegate.v1.SessionOptions;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/** What the driver can be asked for. */
final class Operations {
  /** Begins an operation; cancelling what it gives cancels the call. */
  interface Operation {
    CompletableFuture<?> run(Driver driver, Request request);
  }

  /** Named as the requests have them. */
  static final Map<String, Operation> ALL =
      Map.ofEntries(
          Map.entry("connect", Operations::connect),
          Map.entry("disconnect", Operations::disconnect),
          Map.entry("sent", Operations::sent),
          Map.entry("capabilities", Operations::capabilities),
          Map.entry("respond", Operations::respond),
          Map.entry("initiate", Operations::initiate),
          Map.entry("respond_resume", Operations::respondResume),
          Map.entry("restore", Operations::restore),
          Map.entry("handle", Operations::handle),
          Map.entry("proceed", Operations::proceed),
          Map.entry("encrypt", Operations::encrypt),
          Map.entry("decrypt", Operations::decrypt),
          Map.entry("rotate", Operations::rotate),
          Map.entry("issue_ticket", Operations::issueTicket),
          Map.entry("suspend", Operations::suspend),
          Map.entry("describe", Operations::describe),
          Map.entry("export_secret", Operations::exportSecret),
          Map.entry("close", Operations::close),
          Map.entry("encrypt_batch", Operations::encryptBatch),
          Map.entry("decrypt_batch", Operations::decryptBatch),
          Map.entry("broadcast", Operations::broadcast),
          Map.entry("receive", Operations::receive));

  private Operations() {}

  /** What a call gives, as an answer; who cancels the answer cancels the call. */
  private static <T> CompletableFuture<Object> answering(
      CompletableFuture<T> call, Function<T, Object> answer) {
    CompletableFuture<Object> answered = call.thenApply(answer);
    answered.whenComplete(
        (value, error) -> {
          if (answered.isCancelled()) {
            call.cancel(true);
          }
        });
    return answered;
  }

  private static CompletableFuture<Object> now(Object answer) {
    return CompletableFuture.completedFuture(answer);
  }

  private static CompletableFuture<?> connect(Driver driver, Request request) {
    Policy policy = Policy.DEFAULT;
    if (request.has("packet_ms")) {
      policy = policy.withPacketDeadline(Duration.ofMillis(request.number("packet_ms", 0)));
    }
    if (request.has("control_ms")) {
      policy = policy.withControlDeadline(Duration.ofMillis(request.number("control_ms", 0)));
    }
    policy = policy.withAttempts(request.number("attempts", policy.attempts()));
    ClientBuilder builder = Client.to(request.text("target")).policy(policy);
    if (request.flag("multiplex")) {
      Multiplex multiplex = Multiplex.DEFAULT;
      builder.multiplex(multiplex.withMaxItems(request.number("max_items", multiplex.maxItems())));
    }
    if (request.flag("on_send")) {
      builder.onSend(driver::keepSent);
    }
    if (request.has("window")) {
      int window = request.number("window", 0);
      builder.channel(channel -> ((NettyChannelBuilder) channel).flowControlWindow(window));
    }
    if (request.has("ca")) {
      builder.tls(credentials(request));
    }
    driver.clients.put(request.text("client"), builder.connect());
    return now(Map.of());
  }

  private static ChannelCredentials credentials(Request request) {
    try {
      var credentials =
          TlsChannelCredentials.newBuilder()
              .trustManager(new ByteArrayInputStream(request.bytes("ca")));
      if (request.has("certificate")) {
        credentials.keyManager(
            new ByteArrayInputStream(request.bytes("certificate")),
            new ByteArrayInputStream(request.bytes("key")));
      }
      return credentials.build();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static CompletableFuture<?> disconnect(Driver driver, Request request) {
    client(driver, request).close();
    return now(Map.of());
  }

  private static CompletableFuture<?> sent(Driver driver, Request request) {
    List<byte[]> messages = driver.takeSent(session(driver, request));
    return now(Map.of("messages", Answers.hex(messages)));
  }

  private static Client client(Driver driver, Request request) {
    return driver.clients.get(request.text("client"));
  }

  private static Session session(Driver driver, Request request) {
    return driver.sessions.get(request.text("session"));
  }

  private static CompletableFuture<?> capabilities(Driver driver, Request request) {
    return answering(
        client(driver, request).capabilities(),
        found ->
            Map.of(
                "static_key", Answers.hex(found.getStaticKey().toByteArray()),
                "protocol_version", found.getProtocolVersion()));
  }

  /** What begins a session: it gets its name. */
  private static CompletableFuture<?> kept(
      Driver driver, Request request, CompletableFuture<Session> begun) {
    return answering(
        begun,
        session -> {
          driver.sessions.put(request.text("session"), session);
          return Answers.begun(session);
        });
  }

  private static CompletableFuture<?> respond(Driver driver, Request request) {
    RespondHandshake.Builder step =
        RespondHandshake.newBuilder()
            .setMode(request.mode())
            .setMessage(request.string("message"))
            .setHello(request.string("hello"))
            .setPsk(request.string("psk"))
            .setPrologue(request.string("prologue"))
            .setPayload(request.string("payload"))
            .setPeerId(request.text("peer_id"))
            .setGroup(request.text("group"));
    Optional.ofNullable(request.protocol()).ifPresent(step::setProtocol);
    return kept(driver, request, client(driver, request).respond(step.build()));
  }

  private static CompletableFuture<?> initiate(Driver driver, Request request) {
    InitiateHandshake.Builder step =
        InitiateHandshake.newBuilder()
            .setMode(request.mode())
            .setRemoteStaticKey(request.string("remote_static_key"))
            .setPsk(request.string("psk"))
            .setPrologue(request.string("prologue"))
            .setPayload(request.string("payload"))
            .setPeerId(request.text("peer_id"))
            .setGroup(request.text("group"))
            .setOptions(SessionOptions.newBuilder().setTickets(request.flag("tickets")));
    Optional.ofNullable(request.protocol()).ifPresent(step::setProtocol);
    return kept(driver, request, client(driver, request).initiate(step.build()));
  }

  private static CompletableFuture<?> respondResume(Driver driver, Request request) {
    RespondResume step =
        RespondResume.newBuilder()
            .setMode(request.mode())
            .setMessage(request.string("message"))
            .setTicket(request.string("ticket"))
            .setPrologue(request.string("prologue"))
            .setPayload(request.string("payload"))
            .build();
    return kept(driver, request, client(driver, request).respondResume(step));
  }

  private static CompletableFuture<?> restore(Driver driver, Request request) {
    RestoreSessionRequest.Builder source = RestoreSessionRequest.newBuilder();
    if (request.has("blob")) {
      source.setBlob(request.string("blob"));
    } else {
      source.setSessionId(request.string("session_id"));
    }
    return kept(driver, request, client(driver, request).restore("", source.build()));
  }

  private static CompletableFuture<?> handle(Driver driver, Request request) {
    Session session =
        client(driver, request)
            .session(request.bytes("session_id"), request.text("endpoint"), request.mode());
    return kept(driver, request, CompletableFuture.completedFuture(session));
  }

  private static CompletableFuture<?> proceed(Driver driver, Request request) {
    Session session = session(driver, request);
    return answering(
        session.proceed(request.bytes("message"), request.bytes("payload")),
        toPeer -> Answers.begun(session));
  }

  private static CompletableFuture<?> encrypt(Driver driver, Request request) {
    return answering(
        session(driver, request)
            .encrypt(request.bytes("plaintext"), request.bytes("associated_data")),
        Answers::sealed);
  }

  private static CompletableFuture<?> decrypt(Driver driver, Request request) {
    Session session = session(driver, request);
    byte[] ciphertext = request.bytes("ciphertext");
    return answering(
        request.flag("is_ticket")
            ? session.decryptTicket(ciphertext)
            : session.decrypt(ciphertext, request.bytes("associated_data")),
        Answers::opened);
  }

  private static CompletableFuture<?> rotate(Driver driver, Request request) {
    RotateRequest.Builder rotation =
        RotateRequest.newBuilder()
            .setKind(RotationKind.valueOf("ROTATION_KIND_" + request.text("kind")))
            .setMessage(request.string("message"))
            .setSwitchSend(request.flag("switch_send"))
            .setSwitchReceive(request.flag("switch_receive"));
    if (request.has("direction")) {
      rotation.setDirection(Direction.valueOf("DIRECTION_" + request.text("direction")));
    }
    return answering(session(driver, request).rotate(rotation.build()), Operations::rotated);
  }

  private static Map<String, Object> rotated(RotateResponse rotation) {
    return Map.of(
        "to_peer",
            rotation.getToPeerList().stream().map(each -> Answers.hex(each.toByteArray())).toList(),
        "state", rotation.getState().name().replace("SESSION_STATE_", ""),
        "epoch", rotation.getEpoch(),
        "counter", rotation.getCounter(),
        "ready_to_switch", rotation.getReadyToSwitch());
  }

  private static CompletableFuture<?> issueTicket(Driver driver, Request request) {
    return answering(
        session(driver, request).issueTicket(),
        ticket ->
            Map.of(
                "to_peer",
                ticket.getToPeerList().stream()
                    .map(each -> Answers.hex(each.toByteArray()))
                    .toList()));
  }

  private static CompletableFuture<?> suspend(Driver driver, Request request) {
    return answering(
        session(driver, request).suspend(request.flag("return_blob")),
        suspended -> Map.of("blob", Answers.hex(suspended.getBlob().toByteArray())));
  }

  private static CompletableFuture<?> describe(Driver driver, Request request) {
    return answering(session(driver, request).describe(), Answers::described);
  }

  private static CompletableFuture<?> exportSecret(Driver driver, Request request) {
    return answering(
        session(driver, request)
            .exportSecret(
                request.text("label"), request.bytes("context"), request.number("length", 0)),
        secret -> Map.of("secret", Answers.hex(secret)));
  }

  private static CompletableFuture<?> close(Driver driver, Request request) {
    Session session = session(driver, request);
    return answering(
        session.end(), toPeer -> Map.of("to_peer", Answers.hex(toPeer), "ended", session.ended()));
  }

  private static List<Item> items(Driver driver, Request request) {
    return request.items().stream()
        .map(
            item ->
                new Item(session(driver, item), item.bytes("body"), item.bytes("associated_data")))
        .toList();
  }

  private static CompletableFuture<?> encryptBatch(Driver driver, Request request) {
    return answering(
        client(driver, request).encryptBatch(items(driver, request)),
        results -> Answers.items(results, Answers::sealed));
  }

  private static CompletableFuture<?> decryptBatch(Driver driver, Request request) {
    return answering(
        client(driver, request).decryptBatch(items(driver, request)),
        results -> Answers.items(results, Answers::opened));
  }

  private static CompletableFuture<?> broadcast(Driver driver, Request request) {
    List<Session> sessions = request.texts("sessions").stream().map(driver.sessions::get).toList();
    return answering(
        client(driver, request)
            .broadcast(sessions, request.bytes("plaintext"), request.bytes("associated_data")),
        results -> Answers.items(results, Answers::sealed));
  }

  private static CompletableFuture<?> receive(Driver driver, Request request) {
    Receiver<String> receiver =
        driver.receivers.computeIfAbsent(
            request.text("receiver"), name -> new Receiver<>(client(driver, request)));
    return answering(
        receiver.receive(request.bytes("packet"), request.text("source")),
        received -> {
          if (received.session() != null) {
            driver.sessions.put(request.text("session"), received.session());
          }
          return Answers.received(received);
        });
  }
}
