package io.noisegate;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.noisegate.v1.ItemError;
import io.noisegate.v1.TransportRefused;
import java.time.Duration;
import java.util.Map;

/**
 * A call that was refused or got no answer. A packet that was refused is {@link Opened.Refused}.
 */
public class NoisegateException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final String DOMAIN = "noisegate";

  private final Status.Code code;
  private final transient Details details;

  /** What programs may rely on. */
  record Details(String reason, Map<String, String> metadata, Duration retryDelay) {
    static final Details NONE = new Details("", Map.of(), Duration.ZERO);
  }

  NoisegateException(Status.Code code, String message, Details details) {
    super((details.reason().isEmpty() ? code.name() : details.reason()) + ": " + message);
    this.code = code;
    this.details = details;
  }

  /** The gRPC status code. */
  public Status.Code code() {
    return code;
  }

  /** Why the service refused, a constant of {@link Reason}; empty where gRPC itself gave up. */
  public String reason() {
    return details.reason();
  }

  /** For programs, e.g. "cause" and "resumable" of SESSION_CLOSED. */
  public Map<String, String> metadata() {
    return details.metadata();
  }

  /** How long the service asks to wait; zero where it did not. */
  public Duration retryDelay() {
    return details.retryDelay();
  }

  static NoisegateException of(Status.Code code, String message, Details details) {
    return Reason.isOfALostSession(details.reason())
        ? new ResumeNeededException(code, message, details)
        : new NoisegateException(code, message, details);
  }

  static NoisegateException of(Status.Code code, String message) {
    return of(code, message, Details.NONE);
  }

  /** What a gRPC call ended with. */
  static NoisegateException of(Throwable error) {
    Status status = Status.fromThrowable(error);
    com.google.rpc.Status details = StatusProto.fromThrowable(error);
    String message = status.getDescription() == null ? "" : status.getDescription();
    return of(status.getCode(), message, details == null ? Details.NONE : read(details));
  }

  /** How a context ended: by its deadline, or cancelled. */
  static NoisegateException of(Context ended) {
    Status status = Contexts.statusFromCancelled(ended);
    return of(status.getCode(), String.valueOf(status.getDescription()));
  }

  /** The refusal of a whole batch of a stream. */
  static NoisegateException of(TransportRefused refused) {
    try {
      com.google.rpc.Status status = com.google.rpc.Status.parseFrom(refused.getStatus());
      if (status.getCode() != 0) {
        return of(codeOf(status.getCode()), status.getMessage(), read(status));
      }
    } catch (InvalidProtocolBufferException notOne) {
      // The code alone is left.
    }
    return of(codeOf(refused.getCode()), "the batch was refused");
  }

  /** The refusal of one item of a batch. */
  static NoisegateException of(ItemError item) {
    String reason = Reason.of(item.getReason());
    Details details = new Details(reason, item.getMetadataMap(), Duration.ZERO);
    return of(codeOf(item.getCode()), item.getMessage(), details);
  }

  /** An answer that does not fit its request. */
  static NoisegateException notWhole(String what) {
    return of(Status.Code.INTERNAL, "the answer does not have " + what);
  }

  private static Status.Code codeOf(int value) {
    return Status.fromCodeValue(value).getCode();
  }

  private static Details read(com.google.rpc.Status status) {
    String reason = "";
    Map<String, String> metadata = Map.of();
    Duration delay = Duration.ZERO;
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          if (info.getDomain().equals(DOMAIN)) {
            reason = info.getReason();
            metadata = info.getMetadataMap();
          }
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration asked = detail.unpack(RetryInfo.class).getRetryDelay();
          delay = Duration.ofSeconds(asked.getSeconds(), asked.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException spoilt) {
      // What could be read still holds.
    }
    return new Details(reason, metadata, delay.isNegative() ? Duration.ZERO : delay);
  }
}
