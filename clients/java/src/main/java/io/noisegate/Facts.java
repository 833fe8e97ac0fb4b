package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.EarlyData;
import io.noisegate.v1.Established;
import io.noisegate.v1.HandshakeResponse;
import io.noisegate.v1.RecordMode;
import io.noisegate.v1.ResumeResponse;
import java.time.Duration;
import java.util.List;

/** What a handle knows of its session without asking. Guarded by the handle. */
final class Facts {
  ByteString id = ByteString.EMPTY;
  String endpoint = "";
  RecordMode mode = RecordMode.RECORD_MODE_UNSPECIFIED;
  boolean resuming;
  ByteString connectionId = ByteString.EMPTY;
  String peerId = "";
  String group = "";
  Established established;
  Duration pendingFor = Duration.ZERO;
  List<byte[]> toPeer = List.of();
  ByteString payload = ByteString.EMPTY;
  ByteString hello = ByteString.EMPTY;
  ByteString ticket = ByteString.EMPTY;
  EarlyData early = EarlyData.EARLY_DATA_UNSPECIFIED;
  ByteString earlyData = ByteString.EMPTY;
  boolean fellBack;
  boolean ended;

  /** Of a session that begins. */
  static Facts beginning(RecordMode mode, String peerId, String group) {
    Facts facts = new Facts();
    facts.mode = mode;
    facts.peerId = peerId;
    facts.group = group;
    return facts;
  }

  static Facts of(io.noisegate.v1.Session described) {
    Facts facts = beginning(described.getMode(), described.getPeerId(), described.getGroup());
    facts.id = described.getSessionId();
    facts.endpoint = described.getEndpoint();
    facts.connectionId = described.getConnectionId();
    facts.established = described.hasEstablished() ? described.getEstablished() : null;
    return facts;
  }

  /** Remembers what a step of a handshake gave, and from where. */
  void shaken(HandshakeResponse step, String from) {
    stepped(step.getSessionId(), step.getEndpoint(), from, step.getConnectionId());
    said(step.getToPeerList(), step.getPayload());
    established = step.hasEstablished() ? step.getEstablished() : null;
    pendingFor = durationOf(step.getPending().getExpiresIn());
    hello = step.getHello().isEmpty() ? hello : step.getHello();
  }

  /** Remembers what a step of a resume gave, and from where. */
  void resumed(ResumeResponse step, String from) {
    stepped(step.getSessionId(), step.getEndpoint(), from, step.getConnectionId());
    said(step.getToPeerList(), step.getPayload());
    established = step.hasEstablished() ? step.getEstablished() : null;
    pendingFor = durationOf(step.getPending().getExpiresIn());
    ticket = step.getTicket().isEmpty() ? ticket : step.getTicket();
    early = step.getEarly();
    earlyData = step.getEarlyData();
    if (step.getFellBack()) {
      // What is under way is a full handshake, and its steps are Handshake's.
      fellBack = true;
      resuming = false;
    }
    peerId = step.getPeerId().isEmpty() ? peerId : step.getPeerId();
    group = step.getGroup().isEmpty() ? group : step.getGroup();
  }

  private void stepped(ByteString session, String named, String from, ByteString connection) {
    id = session.isEmpty() ? id : session;
    endpoint = named.isEmpty() ? from : named;
    connectionId = connection.isEmpty() ? connectionId : connection;
  }

  private void said(List<ByteString> messages, ByteString said) {
    toPeer = Records.bytesOf(messages);
    payload = said;
  }

  private static Duration durationOf(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }
}
