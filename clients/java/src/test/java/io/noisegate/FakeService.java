package io.noisegate;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import io.noisegate.v1.EncryptRequest;
import io.noisegate.v1.EncryptResponse;
import io.noisegate.v1.TransportAnswer;
import io.noisegate.v1.TransportBatch;
import io.noisegate.v1.TransportRequest;
import io.noisegate.v1.TransportResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;

/** Answers Encrypt and Transport as a test says, over real connections. */
final class FakeService implements AutoCloseable {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> TRACE =
      Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);

  /** Of each call and stream, as they came. */
  final List<String> tokens = new CopyOnWriteArrayList<>();

  final List<String> traces = new CopyOnWriteArrayList<>();
  private final Server server;

  private FakeService(ServerServiceDefinition methods) {
    ServerInterceptor noting =
        new ServerInterceptor() {
          @Override
          public <I, O> ServerCall.Listener<I> interceptCall(
              ServerCall<I, O> call, Metadata headers, ServerCallHandler<I, O> next) {
            tokens.add(String.valueOf(headers.get(AUTHORIZATION)));
            traces.add(String.valueOf(headers.get(TRACE)));
            return next.startCall(call, headers);
          }
        };
    try {
      server =
          NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
              .addService(ServerInterceptors.intercept(methods, noting))
              .build()
              .start();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** What the script throws is the call's refusal. */
  static FakeService encrypting(Function<EncryptRequest, EncryptResponse> script) {
    return new FakeService(
        ServerServiceDefinition.builder(Methods.SERVICE)
            .addMethod(
                Methods.ENCRYPT.descriptor(),
                ServerCalls.asyncUnaryCall(
                    (request, answer) -> {
                      try {
                        answer.onNext(script.apply(request));
                        answer.onCompleted();
                      } catch (StatusRuntimeException refused) {
                        answer.onError(refused);
                      }
                    }))
            .build());
  }

  /** What the script throws is the stream's end. */
  static FakeService carrying(Function<TransportBatch, TransportAnswer> script) {
    return new FakeService(
        ServerServiceDefinition.builder(Methods.SERVICE)
            .addMethod(
                Methods.TRANSPORT,
                ServerCalls.asyncBidiStreamingCall(answers -> new Carrying(script, answers)))
            .build());
  }

  private record Carrying(
      Function<TransportBatch, TransportAnswer> script, StreamObserver<TransportResponse> answers)
      implements StreamObserver<TransportRequest> {
    @Override
    public void onNext(TransportRequest request) {
      for (TransportBatch batch : request.getBatchesList()) {
        try {
          TransportAnswer answer =
              script.apply(batch).toBuilder().setCorrelationId(batch.getCorrelationId()).build();
          answers.onNext(TransportResponse.newBuilder().addAnswers(answer).build());
        } catch (StatusRuntimeException ended) {
          answers.onError(ended);
          return;
        }
      }
    }

    @Override
    public void onError(Throwable gone) {}

    @Override
    public void onCompleted() {
      answers.onCompleted();
    }
  }

  /** A refusal as the service makes them. */
  static StatusRuntimeException refusal(Status.Code code, String reason) {
    return StatusProto.toStatusRuntimeException(status(code, reason));
  }

  static com.google.rpc.Status status(Status.Code code, String reason) {
    ErrorInfo info = ErrorInfo.newBuilder().setDomain("noisegate").setReason(reason).build();
    return com.google.rpc.Status.newBuilder()
        .setCode(code.value())
        .setMessage("no")
        .addDetails(Any.pack(info))
        .build();
  }

  String target() {
    return "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
