import io.noisegate.NoisegateException;
import io.noisegate.Opened;
import io.noisegate.Received;
import io.noisegate.Result;
import io.noisegate.ResumeNeededException;
import io.noisegate.RetryNeededException;
import io.noisegate.Sealed;
import io.noisegate.Session;
import io.noisegate.v1.Established;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionException;
import java.util.function.Function;

/** What the SDK gave, as the suite knows it. */
final class Answers {
  private Answers() {}

  static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  static List<String> hex(List<byte[]> messages) {
    return messages.stream().map(Answers::hex).toList();
  }

  static Map<String, Object> refusal(Throwable error) {
    Throwable cause = error instanceof CompletionException ? error.getCause() : error;
    if (cause instanceof RetryNeededException retry) {
      String why = retry.why().name().replace("REASON_", "RETRY_");
      return refusal("FAILED_PRECONDITION", why, false, Map.of());
    }
    if (cause instanceof NoisegateException refused) {
      boolean lost = refused instanceof ResumeNeededException;
      return refusal(refused.code().name(), refused.reason(), lost, refused.metadata());
    }
    if (cause instanceof CancellationException) {
      return refusal("CANCELLED", "", false, Map.of());
    }
    return refusal("CLIENT", String.valueOf(cause), false, Map.of());
  }

  private static Map<String, Object> refusal(
      String code, String reason, boolean lost, Map<String, String> metadata) {
    return Map.of("code", code, "reason", reason, "resume_needed", lost, "metadata", metadata);
  }

  static Map<String, Object> sealed(Sealed sealed) {
    return Map.of(
        "packet", hex(sealed.packet()),
        "to_peer", hex(sealed.toPeer()),
        "counter", sealed.counter(),
        "epoch", sealed.epoch(),
        "rotation_due", sealed.rotationDue());
  }

  static Map<String, Object> opened(Opened opened) {
    if (opened instanceof Opened.Refused refused) {
      return Map.of("refused", refused.reason());
    }
    Opened.Opening record = (Opened.Opening) opened;
    Map<String, Object> answer = new HashMap<>();
    answer.put("refused", "");
    answer.put("plaintext", opened instanceof Opened.Data data ? hex(data.plaintext()) : null);
    answer.put(
        "control",
        opened instanceof Opened.Control control
            ? control.kind().name().replace("CONTROL_KIND_", "")
            : "");
    answer.put("to_peer", hex(record.toPeer()));
    answer.put("counter", record.position().counter());
    answer.put("epoch", record.position().epoch());
    answer.put("newest", record.position().newest());
    answer.put("early", record.position().early());
    return answer;
  }

  static <T> Map<String, Object> items(
      List<Result<T>> results, Function<T, Map<String, Object>> answer) {
    List<Map<String, Object>> items = new ArrayList<>();
    for (Result<T> result : results) {
      items.add(
          result instanceof Result.Failed<T> failed
              ? Map.of("error", refusal(failed.error()))
              : answer.apply(result.get()));
    }
    return Map.of("items", items);
  }

  /** A session that has begun or gone on. */
  static Map<String, Object> begun(Session session) {
    Established made = session.established().orElse(Established.getDefaultInstance());
    Map<String, Object> answer = new HashMap<>();
    answer.put("session_id", hex(session.id()));
    answer.put("endpoint", session.endpoint());
    answer.put("connection_id", hex(session.connectionId()));
    answer.put("to_peer", hex(session.toPeer()));
    answer.put("payload", hex(session.payload()));
    answer.put("ticket", hex(session.ticket()));
    answer.put("peer_id", session.peerId());
    answer.put("group", session.group());
    answer.put("established", session.established().isPresent());
    answer.put("handshake_hash", hex(made.getHandshakeHash().toByteArray()));
    answer.put("remote_static_key", hex(made.getRemoteStaticKey().toByteArray()));
    return answer;
  }

  static Map<String, Object> described(io.noisegate.v1.Session session) {
    return Map.of(
        "state", session.getState().name().replace("SESSION_STATE_", ""),
        "peer_id", session.getPeerId(),
        "group", session.getGroup(),
        "epoch", session.getEpoch());
  }

  static Map<String, Object> received(Received<String> received) {
    List<String> plaintexts = received.plaintext().map(Answers::hex).stream().toList();
    return Map.of(
        "refused", received.refused(),
        "plaintexts", plaintexts,
        "to_send", received.toSend().stream().map(each -> hex(each.bytes())).toList(),
        "sources", received.toSend().stream().map(each -> each.address()).toList(),
        "established", received.established(),
        "new_session", received.newSession(),
        "moved", received.moved(),
        "withheld", received.withheld());
  }
}
