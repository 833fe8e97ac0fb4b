import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.noisegate.Client;
import io.noisegate.Policy;
import io.noisegate.Receiver;
import io.noisegate.Session;
import io.noisegate.v1.RecordMode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Calls the Java SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of
 * JSON out.
 */
public final class Driver {
  private static final Gson JSON = new GsonBuilder().serializeNulls().create();

  /** What the SDK gave it, by the requests' names. */
  final Map<String, Client> clients = new ConcurrentHashMap<>();

  final Map<String, Session> sessions = new ConcurrentHashMap<>();
  final Map<String, Receiver<String>> receivers = new ConcurrentHashMap<>();

  /** What onSend was given, by the session's id. */
  private final Map<String, List<byte[]>> sent = new ConcurrentHashMap<>();

  private final Map<Integer, CompletableFuture<?>> running = new ConcurrentHashMap<>();
  private final PrintStream out;

  private Driver(PrintStream out) {
    this.out = out;
  }

  public static void main(String[] arguments) throws IOException {
    Driver driver = new Driver(new PrintStream(System.out, false, StandardCharsets.UTF_8));
    warmUp();
    try (var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        driver.begin(new Request(JsonParser.parseString(line).getAsJsonObject()));
      }
    }
    driver.clients.values().forEach(Client::close);
  }

  /**
   * Loads what calls run on, which would take the first one seconds of its deadline on a loaded
   * machine.
   */
  private static void warmUp() {
    Policy once = Policy.DEFAULT.withAttempts(1).withPacketDeadline(Duration.ofSeconds(30));
    try (Client nobody = Client.to("127.0.0.1:1").policy(once).connect()) {
      nobody
          .session(new byte[24], "", RecordMode.RECORD_MODE_DATAGRAM)
          .encrypt(new byte[0])
          .exceptionally(unavailable -> null)
          .join();
    }
  }

  /** Runs a request by itself, or cancels one. */
  private void begin(Request request) {
    if (request.text("op").equals("cancel")) {
      CompletableFuture<?> call = running.get(request.number("target", 0));
      if (call != null) {
        call.cancel(true);
      }
      return;
    }
    int id = request.number("id", 0);
    Operations.Operation operation = Operations.ALL.get(request.text("op"));
    if (operation == null) {
      write(id, "error", Map.of("code", "UNKNOWN_OP"));
      return;
    }
    CompletableFuture<?> call;
    try {
      call = operation.run(this, request);
    } catch (RuntimeException error) {
      call = CompletableFuture.failedFuture(error);
    }
    running.put(id, call);
    CompletableFuture<?> begun = call;
    begun.whenComplete(
        (ok, error) -> {
          running.remove(id, begun);
          write(id, error == null ? "ok" : "error", error == null ? ok : Answers.refusal(error));
        });
  }

  private void write(int id, String what, Object value) {
    JsonObject line = new JsonObject();
    line.addProperty("id", id);
    line.add(what, JSON.toJsonTree(value));
    String text = JSON.toJson(line);
    synchronized (out) {
      out.println(text);
      out.flush();
    }
  }

  void keepSent(Session session, List<byte[]> messages) {
    sent.computeIfAbsent(keyOf(session), key -> new ArrayList<>()).addAll(messages);
  }

  /** What onSend was given for a session since it was last asked. */
  List<byte[]> takeSent(Session session) {
    List<byte[]> messages = sent.remove(keyOf(session));
    return messages == null ? List.of() : messages;
  }

  private static String keyOf(Session session) {
    return HexFormat.of().formatHex(session.id());
  }
}
