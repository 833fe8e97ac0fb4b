// Calls the TypeScript SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of JSON out.

import { createInterface } from "node:readline";
import * as noisegate from "../../../../clients/typescript/dist/src/index.js";

const { Code, ControlKind, Direction, NoisegateError, Pattern, RecordMode, ResumeNeeded, RetryNeeded } = noisegate;
const { RotationKind, SessionState, Suite } = noisegate;

const clients = new Map();
const sessions = new Map();
const receivers = new Map();
/** What the hook was given, by the session's id. */
const sent = new Map();

const bytes = (digits = "") => Buffer.from(digits, "hex");
const hex = (data) => Buffer.from(data).toString("hex");
const hexes = (messages) => messages.map(hex);

/** An error as the suite knows it. */
function refusal(error) {
  const found = { code: "CLIENT", reason: "", resume_needed: error instanceof ResumeNeeded, metadata: {} };
  if (error instanceof RetryNeeded) {
    return { ...found, code: "FAILED_PRECONDITION", reason: `RETRY_${error.why}` };
  }
  if (error instanceof NoisegateError) {
    return { ...found, code: Code[error.code], reason: error.reason, metadata: error.metadata };
  }
  return { ...found, reason: String(error?.stack ?? error) };
}

function sealed({ packet, toPeer, counter, epoch, rotationDue }) {
  return { packet: hex(packet), to_peer: hexes(toPeer), counter: Number(counter), epoch, rotation_due: rotationDue };
}

function opened({ refused, plaintext, control, toPeer, counter, epoch, newest, early }) {
  if (refused) {
    return { refused };
  }
  return {
    refused: "",
    plaintext: plaintext === undefined ? null : hex(plaintext),
    control: plaintext === undefined ? ControlKind[control] : "",
    to_peer: hexes(toPeer),
    counter: Number(counter),
    epoch,
    newest,
    early,
  };
}

const results = (items, shown) => items.map((item) => (item instanceof Error ? { error: refusal(item) } : shown(item)));

/** A session that has begun or gone on. */
function begun(session) {
  const made = session.established;
  return {
    session_id: hex(session.id),
    endpoint: session.endpoint,
    connection_id: hex(session.connectionId),
    to_peer: hexes(session.toPeer),
    payload: hex(session.payload),
    ticket: hex(session.ticket),
    peer_id: session.peerId,
    group: session.group,
    established: made !== undefined,
    handshake_hash: hex(made?.handshakeHash ?? []),
    remote_static_key: hex(made?.remoteStaticKey ?? []),
  };
}

/** What begins a session: it gets the request's name. */
async function kept(request, session) {
  sessions.set(request.session, await session);
  return begun(await session);
}

/** The fields that both roles have. */
function step(request) {
  const { pattern, suite, mode, peer_id = "", group = "" } = request;
  const [psk, prologue, payload] = [bytes(request.psk), bytes(request.prologue), bytes(request.payload)];
  const shared = { mode: RecordMode[mode], psk, prologue, payload, peerId: peer_id, group };
  // The protocol is left out where the hello says it.
  return pattern === undefined ? shared : { ...shared, protocol: { pattern: Pattern[pattern], suite: Suite[suite] } };
}

function items(request) {
  return request.items.map((item) => ({
    session: sessions.get(item.session),
    body: bytes(item.body),
    associatedData: bytes(item.associated_data),
  }));
}

/** Named as the requests have them. */
const operations = {
  connect(request) {
    const { packet_ms = 250, control_ms = 2_000, attempts = 5, window, max_items = 256 } = request;
    const { ca, certificate, key } = request;
    const options = { policy: { packetDeadlineMs: packet_ms, controlDeadlineMs: control_ms, attempts } };
    if (request.multiplex) {
      options.multiplex = { maxItems: max_items };
    }
    if (request.on_send) {
      options.onSend = (session, messages) => {
        const id = hex(session.id);
        sent.set(id, [...(sent.get(id) ?? []), ...messages]);
      };
    }
    if (window !== undefined) {
      options.channelOptions = { "grpc-node.flow_control_window": window };
    }
    if (ca !== undefined) {
      options.tls = { ca: bytes(ca), ...(certificate && { certificate: bytes(certificate), key: bytes(key) }) };
    }
    clients.set(request.client, noisegate.connect(request.target, options));
    return {};
  },
  disconnect(request) {
    clients.get(request.client).close();
    return {};
  },
  async capabilities(request, options) {
    const found = await clients.get(request.client).capabilities(options);
    return { static_key: hex(found.staticKey), protocol_version: found.protocolVersion };
  },
  respond(request, options) {
    const asked = { ...step(request), message: bytes(request.message), hello: bytes(request.hello) };
    return kept(request, clients.get(request.client).respond(asked, options));
  },
  initiate(request, options) {
    const remoteStaticKey = bytes(request.remote_static_key);
    const asked = { ...step(request), remoteStaticKey, options: { tickets: request.tickets ?? false } };
    return kept(request, clients.get(request.client).initiate(asked, options));
  },
  respond_resume(request, options) {
    const { mode, prologue, payload } = step(request);
    const asked = { mode, message: bytes(request.message), ticket: bytes(request.ticket), prologue, payload };
    return kept(request, clients.get(request.client).respondResume(asked, options));
  },
  restore(request, options) {
    const { blob, session_id } = request;
    const source = blob ? { blob: bytes(blob) } : { sessionId: bytes(session_id) };
    return kept(request, clients.get(request.client).restore(source, options));
  },
  handle(request) {
    const { session_id, endpoint = "", mode } = request;
    const client = clients.get(request.client);
    return kept(request, client.session(bytes(session_id), { endpoint, mode: RecordMode[mode] }));
  },
  async proceed(request, options) {
    const session = sessions.get(request.session);
    await session.proceed(bytes(request.message), { ...options, payload: bytes(request.payload) });
    return begun(session);
  },
  async encrypt(request, options) {
    const associatedData = bytes(request.associated_data);
    const asked = { ...options, associatedData };
    return sealed(await sessions.get(request.session).encrypt(bytes(request.plaintext), asked));
  },
  async decrypt(request, options) {
    const asked = { ...options, associatedData: bytes(request.associated_data), ticket: request.is_ticket ?? false };
    return opened(await sessions.get(request.session).decrypt(bytes(request.ciphertext), asked));
  },
  async rotate(request, options) {
    const asked = {
      kind: RotationKind[request.kind],
      direction: Direction[request.direction ?? "UNSPECIFIED"],
      message: bytes(request.message),
      switchSend: request.switch_send ?? false,
      switchReceive: request.switch_receive ?? false,
    };
    const rotation = await sessions.get(request.session).rotate(asked, options);
    return {
      to_peer: hexes(rotation.toPeer),
      state: SessionState[rotation.state],
      epoch: rotation.epoch,
      counter: Number(rotation.counter),
      ready_to_switch: rotation.readyToSwitch,
    };
  },
  async issue_ticket(request, options) {
    return { to_peer: hexes((await sessions.get(request.session).issueTicket(options)).toPeer) };
  },
  async suspend(request, options) {
    const asked = { ...options, returnBlob: request.return_blob ?? false };
    return { blob: hex((await sessions.get(request.session).suspend(asked)).blob) };
  },
  async describe(request, options) {
    const { state, peerId, group, epoch } = await sessions.get(request.session).describe(options);
    return { state: SessionState[state], peer_id: peerId, group, epoch };
  },
  async export_secret(request, options) {
    const asked = { ...options, context: bytes(request.context) };
    return { secret: hex(await sessions.get(request.session).exportSecret(request.label, request.length, asked)) };
  },
  async close(request, options) {
    const session = sessions.get(request.session);
    return { to_peer: hexes(await session.close(options)), ended: session.ended };
  },
  async encrypt_batch(request, options) {
    return { items: results(await clients.get(request.client).encryptBatch(items(request), options), sealed) };
  },
  async decrypt_batch(request, options) {
    return { items: results(await clients.get(request.client).decryptBatch(items(request), options), opened) };
  },
  async broadcast(request, options) {
    const room = request.sessions.map((name) => sessions.get(name));
    const asked = { ...options, associatedData: bytes(request.associated_data) };
    const found = await clients.get(request.client).broadcast(room, bytes(request.plaintext), asked);
    return { items: results(found, sealed) };
  },
  async receive(request, options) {
    if (!receivers.has(request.receiver)) {
      receivers.set(request.receiver, new noisegate.Receiver(clients.get(request.client)));
    }
    const receiver = receivers.get(request.receiver);
    const received = await receiver.receive(bytes(request.packet), request.source, options);
    if (received.session !== undefined) {
      sessions.set(request.session, received.session);
    }
    return {
      refused: received.refused,
      plaintexts: received.plaintext === undefined ? [] : [hex(received.plaintext)],
      to_send: received.toSend.map(({ bytes }) => hex(bytes)),
      sources: received.toSend.map(({ address }) => address),
      established: received.established,
      new_session: received.newSession,
      moved: received.moved,
      withheld: received.withheld,
    };
  },
  sent(request) {
    const id = hex(sessions.get(request.session).id);
    const messages = sent.get(id) ?? [];
    sent.delete(id);
    return { messages: hexes(messages) };
  },
};

const running = new Map();

async function run(request) {
  const stop = new AbortController();
  running.set(request.id, stop);
  const operation = operations[request.op];
  let what = { error: { code: "UNKNOWN_OP" } };
  try {
    if (operation !== undefined) {
      what = { ok: await operation(request, { signal: stop.signal }) };
    }
  } catch (error) {
    what = { error: refusal(error) };
  }
  running.delete(request.id);
  process.stdout.write(`${JSON.stringify({ id: request.id, ...what })}\n`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.op === "cancel") {
    running.get(request.target)?.abort();
  } else {
    void run(request);
  }
}
clients.forEach((client) => client.close());
