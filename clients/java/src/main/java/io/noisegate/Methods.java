package io.noisegate;

import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.protobuf.ProtoUtils;
import io.noisegate.v1.*;

/** The contract's methods, one row each. */
final class Methods {
  static final String SERVICE = "noisegate.v1.SessionCryptoService";

  /** Decides the default deadline, and whether a call waits for a server that is not there yet. */
  enum Kind {
    /** The control deadline; waits. */
    CONTROL,
    /** The packet deadline; a packet that has to wait is worth nothing. */
    PACKET,
    /** The control deadline; never waits. */
    BATCH
  }

  /** One row. */
  record Method<I extends Message, O extends Message>(
      MethodDescriptor<I, O> descriptor, Kind kind) {}

  static final Method<GetCapabilitiesRequest, GetCapabilitiesResponse> GET_CAPABILITIES =
      control(
          "GetCapabilities",
          GetCapabilitiesRequest.getDefaultInstance(),
          GetCapabilitiesResponse.getDefaultInstance());
  static final Method<HandshakeRequest, HandshakeResponse> HANDSHAKE =
      control(
          "Handshake",
          HandshakeRequest.getDefaultInstance(),
          HandshakeResponse.getDefaultInstance());
  static final Method<EncryptRequest, EncryptResponse> ENCRYPT =
      unary(
          "Encrypt",
          Kind.PACKET,
          EncryptRequest.getDefaultInstance(),
          EncryptResponse.getDefaultInstance());
  static final Method<DecryptRequest, DecryptResponse> DECRYPT =
      unary(
          "Decrypt",
          Kind.PACKET,
          DecryptRequest.getDefaultInstance(),
          DecryptResponse.getDefaultInstance());
  static final Method<EncryptBatchRequest, EncryptBatchResponse> ENCRYPT_BATCH =
      unary(
          "EncryptBatch",
          Kind.BATCH,
          EncryptBatchRequest.getDefaultInstance(),
          EncryptBatchResponse.getDefaultInstance());
  static final Method<DecryptBatchRequest, DecryptBatchResponse> DECRYPT_BATCH =
      unary(
          "DecryptBatch",
          Kind.BATCH,
          DecryptBatchRequest.getDefaultInstance(),
          DecryptBatchResponse.getDefaultInstance());
  static final Method<BroadcastRequest, BroadcastResponse> BROADCAST =
      unary(
          "Broadcast",
          Kind.BATCH,
          BroadcastRequest.getDefaultInstance(),
          BroadcastResponse.getDefaultInstance());
  static final Method<RotateRequest, RotateResponse> ROTATE =
      control("Rotate", RotateRequest.getDefaultInstance(), RotateResponse.getDefaultInstance());
  static final Method<ResumeRequest, ResumeResponse> RESUME =
      control("Resume", ResumeRequest.getDefaultInstance(), ResumeResponse.getDefaultInstance());
  static final Method<IssueTicketRequest, IssueTicketResponse> ISSUE_TICKET =
      control(
          "IssueTicket",
          IssueTicketRequest.getDefaultInstance(),
          IssueTicketResponse.getDefaultInstance());
  static final Method<GetSessionRequest, GetSessionResponse> GET_SESSION =
      control(
          "GetSession",
          GetSessionRequest.getDefaultInstance(),
          GetSessionResponse.getDefaultInstance());
  static final Method<ListSessionsRequest, ListSessionsResponse> LIST_SESSIONS =
      control(
          "ListSessions",
          ListSessionsRequest.getDefaultInstance(),
          ListSessionsResponse.getDefaultInstance());
  static final Method<CloseSessionRequest, CloseSessionResponse> CLOSE_SESSION =
      control(
          "CloseSession",
          CloseSessionRequest.getDefaultInstance(),
          CloseSessionResponse.getDefaultInstance());
  static final Method<SuspendSessionRequest, SuspendSessionResponse> SUSPEND_SESSION =
      control(
          "SuspendSession",
          SuspendSessionRequest.getDefaultInstance(),
          SuspendSessionResponse.getDefaultInstance());
  static final Method<RestoreSessionRequest, RestoreSessionResponse> RESTORE_SESSION =
      control(
          "RestoreSession",
          RestoreSessionRequest.getDefaultInstance(),
          RestoreSessionResponse.getDefaultInstance());
  static final Method<ChangeNetworkRequest, ChangeNetworkResponse> CHANGE_NETWORK =
      control(
          "ChangeNetwork",
          ChangeNetworkRequest.getDefaultInstance(),
          ChangeNetworkResponse.getDefaultInstance());
  static final Method<ExportSecretRequest, ExportSecretResponse> EXPORT_SECRET =
      control(
          "ExportSecret",
          ExportSecretRequest.getDefaultInstance(),
          ExportSecretResponse.getDefaultInstance());

  static final MethodDescriptor<TransportRequest, TransportResponse> TRANSPORT =
      descriptor(
          "Transport",
          MethodType.BIDI_STREAMING,
          TransportRequest.getDefaultInstance(),
          TransportResponse.getDefaultInstance());
  static final MethodDescriptor<WatchSessionsRequest, WatchSessionsResponse> WATCH_SESSIONS =
      descriptor(
          "WatchSessions",
          MethodType.SERVER_STREAMING,
          WatchSessionsRequest.getDefaultInstance(),
          WatchSessionsResponse.getDefaultInstance());

  private Methods() {}

  private static <I extends Message, O extends Message> Method<I, O> control(
      String name, I request, O response) {
    return unary(name, Kind.CONTROL, request, response);
  }

  private static <I extends Message, O extends Message> Method<I, O> unary(
      String name, Kind kind, I request, O response) {
    return new Method<>(descriptor(name, MethodType.UNARY, request, response), kind);
  }

  private static <I extends Message, O extends Message> MethodDescriptor<I, O> descriptor(
      String name, MethodType type, I request, O response) {
    return MethodDescriptor.<I, O>newBuilder()
        .setType(type)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(response))
        .build();
  }
}
