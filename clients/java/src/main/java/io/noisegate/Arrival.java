package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.Received.Outgoing;
import io.noisegate.SessionTable.Tracked;
import io.noisegate.v1.*;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** One packet at a receiver, under way. The receiver's lock guards what it knows. */
final class Arrival<A> {
  private static final byte[] NONE = {};
  private static final int FIRST_STEP = 1;
  private static final Duration UNCONFIRMED_FOR = Duration.ofSeconds(60);

  private final Receiver<A> receiver;
  private final Client client;
  private final SessionTable<A> sessions;
  private final Scope scope;
  private final A source;

  /** The whole packet, once it is put together. */
  private byte[] packet;

  private Packet peeked;

  /** The session, where its connection id is known. */
  private Tracked<A> known;

  Arrival(Receiver<A> receiver, Scope scope, A source) {
    this.receiver = receiver;
    client = receiver.client;
    sessions = receiver.sessions;
    this.scope = scope;
    this.source = source;
  }

  CompletableFuture<Received<A>> of(byte[] datagram) {
    Optional<Packet> claimed = Packet.peek(datagram);
    if (claimed.isEmpty() || datagram.length > Packet.MAX_BYTES) {
      return now(Received.dropped(null, Reason.NOT_A_PACKET, false));
    }
    peeked = claimed.get();
    try {
      packet = came(datagram);
    } catch (BadFragmentException bad) {
      return now(Received.dropped(null, Reason.NOT_A_PACKET, false));
    }
    if (packet == null) {
      return now(Received.of(session()));
    }
    peeked = Packet.peek(packet).orElseThrow();
    return Scope.begun(this::handled).exceptionally(error -> refusal(Scope.failureOf(error)));
  }

  /** Notes where a datagram came from and puts fragments together; null where parts are missing. */
  private byte[] came(byte[] datagram) {
    synchronized (receiver) {
      long now = receiver.options.clock().getAsLong();
      sessions.expire(now);
      known = sessions.find(peeked.connectionId());
      if (known != null) {
        known.path.cameFrom(source, datagram.length);
      }
      return peeked.type() == Packet.Type.FRAGMENT
          ? receiver.parts.add(datagram, source, now).orElse(null)
          : datagram;
    }
  }

  private CompletableFuture<Received<A>> handled() {
    boolean first = Packet.stepOf(packet) == FIRST_STEP;
    return switch (peeked.type()) {
      case RECORD, SALTED -> record();
      case HANDSHAKE -> first ? firstStep(false) : laterStep(false);
      case RESUME -> first ? firstStep(true) : laterStep(true);
      case RETRY -> retry();
      case FRAGMENT -> unexpected();
    };
  }

  private CompletableFuture<Received<A>> unexpected() {
    return now(Received.dropped(session(), Reason.UNEXPECTED_PACKET, false));
  }

  private CompletableFuture<Received<A>> record() {
    CompletableFuture<Begin.Found> found =
        known == null
            ? Begin.findAndDecrypt(client, scope, packet)
            : known
                .session
                .open(scope, packet, NONE, false)
                .thenApply(opened -> new Begin.Found(known.session, opened));
    return found.thenApply(this::opened);
  }

  private Received<A> opened(Begin.Found found) {
    if (found.opened() instanceof Opened.Refused refused) {
      return Received.dropped(session(), refused.reason(), false);
    }
    Opened.Opening opened = (Opened.Opening) found.opened();
    synchronized (receiver) {
      boolean fresh = false;
      if (known == null) {
        // The session may have another connection id here, or another packet of it came in
        // meanwhile.
        known = sessions.get(found.session());
        fresh = known == null;
        if (fresh) {
          var path = new PlayerPath<>(source, packet.length, false);
          known = sessions.add(found.session(), path, null);
        } else {
          known.path.cameFrom(source, packet.length);
        }
        sessions.alias(known, peeked.connectionId());
      }
      sessions.settle(known);
      boolean moved = known.path.opened(source, packet.length, opened.position());
      boolean closed = false;
      if (opened instanceof Opened.Control control) {
        known.path.answered(source, ByteString.copyFrom(control.answered()));
        closed = control.kind() == ControlKind.CONTROL_KIND_CLOSE;
      }
      Outgoing<A> outgoing = receiver.allowed(known.path, opened.toPeer());
      if (closed) {
        sessions.remove(known.session);
      }
      var rest = (Opened.Opening) Records.withoutToPeer(opened);
      return Received.record(known.session, rest, outgoing, fresh, closed, moved);
    }
  }

  private CompletableFuture<Received<A>> firstStep(boolean resuming) {
    Admission admission = receiver.options.admit().apply(packet, source);
    if (admission == null) {
      return now(Received.dropped(null, Reason.NOT_ADMITTED, false));
    }
    return begin(admission, resuming).thenApply(this::begun);
  }

  private Received<A> begun(Session session) {
    synchronized (receiver) {
      Tracked<A> tracked = sessions.get(session);
      boolean fresh = tracked == null;
      if (fresh) {
        // Half-open until the player has answered, even where the pattern is done: a first packet
        // may be
        // a replay.
        Duration pending = session.pendingFor();
        Duration most = pending.isZero() ? UNCONFIRMED_FOR : pending;
        var path = new PlayerPath<>(source, packet.length, true);
        tracked =
            sessions.add(session, path, receiver.options.clock().getAsLong() + most.toNanos());
      } else {
        // A repeat: the service gave its answer again, and this handle is a second one of the same
        // session.
        tracked.path.cameFrom(source, packet.length);
      }
      boolean established = fresh && session.established().isPresent();
      // Of several copies of a packet one alone has early data, and not always the first to come
      // back.
      return stepped(tracked, session, fresh, established).with(session.earlyData());
    }
  }

  private CompletableFuture<Session> begin(Admission admission, boolean resuming) {
    ByteString message = ByteString.copyFrom(packet);
    if (resuming) {
      RespondResume step =
          RespondResume.newBuilder()
              .setMode(RecordMode.RECORD_MODE_DATAGRAM)
              .setMessage(message)
              .setPrologue(admission.prologue())
              .setPayload(admission.payload())
              .setAcceptEarlyData(admission.acceptEarlyData())
              .setPsk(admission.psk())
              .setPeerId(admission.peerId())
              .setGroup(admission.group())
              .setOptions(admission.options())
              .build();
      Facts begun = Facts.beginning(RecordMode.RECORD_MODE_DATAGRAM, "", "");
      return Begin.resume(client, scope, ResumeRequest.newBuilder().setRespond(step), begun);
    }
    RespondHandshake step =
        RespondHandshake.newBuilder()
            .setMode(RecordMode.RECORD_MODE_DATAGRAM)
            .setMessage(message)
            .setPsk(admission.psk())
            .setPrologue(admission.prologue())
            .setPayload(admission.payload())
            .setPeerId(admission.peerId())
            .setGroup(admission.group())
            .setOptions(admission.options())
            .build();
    Facts begun = Facts.beginning(step.getMode(), step.getPeerId(), step.getGroup());
    return Begin.shake(client, scope, HandshakeRequest.newBuilder().setRespond(step), begun);
  }

  private CompletableFuture<Received<A>> laterStep(boolean resuming) {
    if (known == null) {
      return Begin.findAndProceed(client, scope, packet, resuming)
          .thenApply(session -> proceeded(session, false));
    }
    Session session = known.session;
    boolean before = session.established().isPresent();
    return Begin.proceed(session, scope, packet, NONE)
        .thenApply(done -> proceeded(session, before));
  }

  private Received<A> proceeded(Session session, boolean before) {
    synchronized (receiver) {
      boolean fresh = false;
      boolean established = known != null && !before && session.established().isPresent();
      if (known == null) {
        known = sessions.get(session);
        if (known == null) {
          fresh = true;
          established = session.established().isPresent();
          var path = new PlayerPath<>(source, packet.length, false);
          known = sessions.add(session, path, receiver.expiry(session));
        }
      }
      if (established) {
        sessions.settle(known);
        known.path.finished(source);
      }
      return stepped(known, known.session, fresh, established);
    }
  }

  /** The player refuses the first packet of a session that the game began. */
  private CompletableFuture<Received<A>> retry() {
    Tracked<A> begun;
    synchronized (receiver) {
      begun = sessions.thatSent(packet);
      if (begun == null) {
        return unexpected();
      }
      begun.path.cameFrom(source, packet.length);
    }
    return Begin.proceed(begun.session, scope, packet, NONE)
        .thenApply(
            done -> {
              synchronized (receiver) {
                // Its echo is made of our packet, which went to one address alone.
                begun.path.finished(source);
                sessions.sent(begun, begun.session.toPeer());
                return stepped(begun, begun.session, false, false);
              }
            });
  }

  private Received<A> stepped(
      Tracked<A> tracked, Session step, boolean fresh, boolean established) {
    PlayerPath<A> path = tracked.path;
    List<byte[]> messages = step.toPeer();
    if (!source.equals(path.address) && !messages.isEmpty()) {
      // A handshake packet proves no address: its sender gets the answer, within what this packet
      // paid for.
      path.answeredElsewhere();
      path = new PlayerPath<>(source, packet.length, false);
    }
    return Received.step(
        tracked.session, step.payload(), receiver.allowed(path, messages), fresh, established);
  }

  /** What the player's packet brought about as a result; throws every other trouble. */
  private Received<A> refusal(RuntimeException error) {
    if (error instanceof RetryNeededException retry) {
      boolean clock = retry.why() == HandshakeRetry.Reason.REASON_CLOCK;
      var path = new PlayerPath<>(source, packet.length, false);
      synchronized (receiver) {
        return Received.retry(
            receiver.allowed(path, retry.toPeer()),
            clock ? Reason.RETRY_CLOCK : Reason.RETRY_CHOOSE);
      }
    }
    if (error instanceof NoisegateException refused && Reason.isThePlayersFault(refused.reason())) {
      boolean gone = known != null && refused instanceof ResumeNeededException;
      if (gone) {
        receiver.forget(known.session);
      }
      return Received.dropped(session(), refused.reason(), gone);
    }
    throw error;
  }

  private Session session() {
    return known == null ? null : known.session;
  }

  private CompletableFuture<Received<A>> now(Received<A> received) {
    return CompletableFuture.completedFuture(received);
  }
}
