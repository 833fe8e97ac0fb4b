/** A client talks to one service: to its target, and to whatever instances the service names. */

import { randomUUID } from "node:crypto";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceError } from "@grpc/grpc-js";
import { Batches, type BatchItem } from "./batch.js";
import { Calls, methods } from "./calls.js";
import { Channels } from "./channels.js";
import { cancelled, fromGrpc, notWhole, retryNeeded } from "./errors.js";
import { described, factsOf, resumed, shaken, type Facts } from "./facts.js";
import { Multiplexer } from "./multiplexer.js";
import {
  type GetCapabilitiesResponse,
  type HandshakeRequestSchema,
  type InitiateHandshakeSchema,
  type InitiateResumeSchema,
  type NetworkChange,
  type RespondHandshakeSchema,
  type RespondResumeSchema,
  type ResumeRequestSchema,
  WatchSessionsRequestSchema,
  WatchSessionsResponseSchema,
  type WatchSessionsResponse,
} from "./noisegate/v1/session_crypto_service_pb.js";
import { RecordMode, type Network, type Session as Description } from "./noisegate/v1/session_pb.js";
import { policyOf, type CallOptions, type ConnectOptions } from "./options.js";
import { openedOf, type Opened, type Sealed } from "./records.js";
import { Session, type Shared } from "./session.js";
import { asIs, encoded, pathOf } from "./wire.js";

/** Of a call that is for one instance: HOST:PORT, the client's own target without it. */
export interface EndpointOptions extends CallOptions {
  readonly endpoint?: string;
}

/** Which sessions: of one player, of one match. */
export interface SessionFilter {
  readonly peerId?: string;
  readonly group?: string;
}

type Step<T> = Omit<T, "$typeName" | "$unknown">;

/**
 * Makes a client for the service at HOST:PORT or a gRPC target; it connects with its first call.
 *
 * Without `tls` it is for loopback alone: any other address throws InsecureTarget. Throws RangeError where options are
 * out of their ranges.
 */
export function connect(target: string, options: ConnectOptions = {}): Client {
  const policy = policyOf(options.policy);
  const channels = new Channels(target, options);
  const multiplexer = options.multiplex && new Multiplexer(channels, policy, options.multiplex);
  return new Client({ calls: new Calls(channels, policy), onSend: options.onSend, multiplexer });
}

export class Client {
  readonly #shared: Shared;
  readonly #calls: Calls;
  readonly #batches: Batches;

  /** @internal */
  constructor(shared: Shared) {
    this.#shared = shared;
    this.#calls = shared.calls;
    this.#batches = new Batches(shared.calls);
  }

  /** Ends every connection; calls under way end with ClientClosed. Sessions live on at the service. */
  close(): void {
    this.#calls.channels.close();
    this.#shared.multiplexer?.close();
  }

  /** What the service can do, and with which static key it answers. */
  async capabilities(options: EndpointOptions = {}): Promise<GetCapabilitiesResponse> {
    return (await this.#calls.ask(methods.getCapabilities, options.endpoint ?? "", {}, options)).answer;
  }

  /**
   * Begins a session with a player's first message. While its `established` is undefined the pattern needs another
   * message of the player: hand it to `proceed`.
   *
   * Reasons: HANDSHAKE_FAILED, UNSUPPORTED_PROTOCOL, POLICY_REJECTED, CLOCK_SKEW, STALE_HANDSHAKE, SESSION_QUOTA,
   * INVALID_REQUEST; DATAGRAM throws RetryNeeded, too.
   */
  respond(step: Step<MessageInitShape<typeof RespondHandshakeSchema>>, options: CallOptions = {}): Promise<Session> {
    return this.#sent(this.shake({ case: "respond", value: step }, named(step), options));
  }

  /** Begins a session towards a player: message 1 is in `toPeer`. */
  initiate(step: Step<MessageInitShape<typeof InitiateHandshakeSchema>>, options: CallOptions = {}): Promise<Session> {
    return this.#sent(this.shake({ case: "initiate", value: step }, named(step), options));
  }

  /**
   * Begins a new session with a ticket that the player brought back; names and options are the ticket's. The player
   * must send a first record: that confirms the resume. TICKET_REJECTED asks for a full handshake; where one came along
   * in the fallback fields it has begun instead, and `fellBack` says so.
   */
  respondResume(step: Step<MessageInitShape<typeof RespondResumeSchema>>, options: CallOptions = {}): Promise<Session> {
    return this.#sent(this.resume({ case: "respond", value: step }, { mode: modeOf(step) }, options));
  }

  /**
   * Begins a new session with a ticket that the player's side gave us in an earlier one, whose mode and endpoint it
   * has.
   */
  initiateResume(
    step: Step<MessageInitShape<typeof InitiateResumeSchema>>,
    mode: RecordMode,
    options: EndpointOptions = {},
  ): Promise<Session> {
    const begun = { mode, endpoint: options.endpoint ?? "" };
    return this.#sent(this.resume({ case: "initiate", value: step }, begun, options));
  }

  /**
   * Brings a suspended session back, once: by its id, or by the blob that `suspend` gave. The endpoint is where it was
   * suspended. SESSION_CLOSED with the cause LOST, BLOB_REJECTED and SESSION_NOT_FOUND say that it cannot come back.
   */
  async restore(
    from: { sessionId: Uint8Array } | { blob: Uint8Array },
    options: EndpointOptions = {},
  ): Promise<Session> {
    const source =
      "blob" in from
        ? ({ case: "blob", value: from.blob } as const)
        : ({ case: "sessionId", value: from.sessionId } as const);
    const request = { requestId: randomUUID(), source };
    const asked = this.#calls.ask(methods.restoreSession, options.endpoint ?? "", request, options);
    const { answer, endpoint } = await asked;
    const facts = described(whole(answer.session));
    facts.endpoint ||= endpoint;
    facts.toPeer = answer.toPeer;
    return this.#sent(new Session(this.#shared, facts));
  }

  /**
   * A handle of a session that lives already; no call is made. Without an endpoint the client's own target is asked,
   * which may send the call on. With DATAGRAM calls run side by side; otherwise those of one direction run one after
   * the other, as NOISE mode needs.
   */
  session(id: Uint8Array, { endpoint = "", mode = RecordMode.UNSPECIFIED } = {}): Session {
    return new Session(this.#shared, factsOf({ id, endpoint, mode }));
  }

  /** A handle of a session that `getSession` or `sessions` described; no call is made. */
  adopt(description: Description): Session {
    return new Session(this.#shared, described(description));
  }

  /** Describes a session, named by its id or, DATAGRAM, by a packet's connection id. */
  async getSession(
    by: { sessionId: Uint8Array } | { connectionId: Uint8Array },
    options: EndpointOptions = {},
  ): Promise<Description> {
    const { answer } = await this.#calls.ask(methods.getSession, options.endpoint ?? "", by, options);
    return whole(answer.session);
  }

  /** Goes through the caller's sessions at one instance, page by page, in no particular order. */
  async *sessions(filter: SessionFilter = {}, options: EndpointOptions = {}): AsyncGenerator<Description, void, void> {
    let pageToken = "";
    do {
      const request = { ...filter, pageToken };
      const { answer } = await this.#calls.ask(methods.listSessions, options.endpoint ?? "", request, options);
      yield* answer.sessions;
      pageToken = answer.nextPageToken;
    } while (pageToken !== "");
  }

  /**
   * Tells what happens to the caller's sessions at one instance, as it happens, until an error ends it: DRAINING when
   * that instance stops, then begin anew. First comes `watching`, once: list sessions after it. The signal ends it, and
   * so does leaving the loop.
   */
  async *watch(
    filter: SessionFilter = {},
    options: Omit<EndpointOptions, "deadlineMs"> = {},
  ): AsyncGenerator<WatchSessionsResponse, void, void> {
    const { channels } = this.#calls;
    const headers = await channels.headers(true);
    const channel = channels.dial(options.endpoint ?? "");
    const stream = channel.makeServerStreamRequest(
      pathOf(methods.watchSessions),
      asIs,
      (bytes: Buffer) => fromBinary(WatchSessionsResponseSchema, bytes),
      encoded(WatchSessionsRequestSchema, filter),
      headers,
    );
    const cancel = (): void => stream.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    if (options.signal?.aborted) {
      cancel();
    }
    try {
      yield* stream;
    } catch (error) {
      throw options.signal?.aborted ? cancelled(options.signal) : fromGrpc(error as ServiceError);
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      cancel();
      channel.close();
    }
  }

  /**
   * Tells that a player is on another network, for all its sessions at one instance. Send `toPeer` of each change;
   * `onSend` is not called, because not every session of it may have a handle here.
   */
  async changeNetwork(peerId: string, network: Network, options: EndpointOptions = {}): Promise<NetworkChange[]> {
    const target = { case: "peerId", value: peerId } as const;
    const request = { requestId: randomUUID(), network, target };
    return (await this.#calls.ask(methods.changeNetwork, options.endpoint ?? "", request, options)).answer.changes;
  }

  /**
   * Seals many plaintexts, of one session or of many, in few calls. There is a result for each item, in their order: an
   * item that is refused leaves the others as they are, and a call that fails is the error of its items.
   */
  encryptBatch(items: readonly BatchItem[], options: CallOptions = {}): Promise<(Sealed | Error)[]> {
    return this.#batches.encrypt(items, options);
  }

  /** Opens many packets, likewise; a refused packet is in `refused` and no error. */
  decryptBatch(items: readonly BatchItem[], options: CallOptions = {}): Promise<(Opened | Error)[]> {
    return this.#batches.decrypt(items, options);
  }

  /** Seals one plaintext for every session of a room, in their order. */
  broadcast(
    sessions: readonly Session[],
    plaintext: Uint8Array,
    options: CallOptions & { associatedData?: Uint8Array } = {},
  ): Promise<(Sealed | Error)[]> {
    return this.#batches.broadcast(sessions, plaintext, options);
  }

  /**
   * Opens a DATAGRAM record whose session the service finds by its connection id. Nothing goes to `onSend`. @internal
   */
  async findAndDecrypt(packet: Uint8Array, options: CallOptions): Promise<[Session, Opened]> {
    const request = { requestId: randomUUID(), ciphertext: packet };
    const { answer, endpoint } = await this.#calls.ask(methods.decrypt, "", request, options);
    return [this.session(answer.sessionId, { endpoint, mode: RecordMode.DATAGRAM }), openedOf(answer)];
  }

  /** A step of a handshake that may begin a session. Nothing goes to `onSend`. @internal */
  async shake(
    step: MessageInitShape<typeof HandshakeRequestSchema>["step"] & {},
    begun: Partial<Facts>,
    options: CallOptions,
  ): Promise<Session> {
    const facts = factsOf(begun);
    const request = { requestId: randomUUID(), step };
    const { answer, endpoint } = await this.#calls.ask(methods.handshake, facts.endpoint, request, options);
    if (answer.progress.case === "retry") {
      throw retryNeeded(answer.progress.value.reason, answer.toPeer);
    }
    shaken(facts, answer, endpoint);
    return new Session(this.#shared, facts);
  }

  /** A step of a resume that may begin a session. Nothing goes to `onSend`. @internal */
  async resume(
    step: MessageInitShape<typeof ResumeRequestSchema>["step"] & {},
    begun: Partial<Facts>,
    options: CallOptions,
  ): Promise<Session> {
    const facts = factsOf({ ...begun, resuming: true });
    const request = { requestId: randomUUID(), step };
    const { answer, endpoint } = await this.#calls.ask(methods.resume, facts.endpoint, request, options);
    if (answer.progress.case === "retry") {
      throw retryNeeded(answer.progress.value.reason, answer.toPeer);
    }
    resumed(facts, answer, endpoint);
    return new Session(this.#shared, facts);
  }

  async #sent(begun: Session | Promise<Session>): Promise<Session> {
    const session = await begun;
    session.sendToPeer();
    return session;
  }
}

function modeOf(step: { mode?: RecordMode }): RecordMode {
  return step.mode ?? RecordMode.UNSPECIFIED;
}

function named(step: { mode?: RecordMode; peerId?: string; group?: string }): Partial<Facts> {
  return { mode: modeOf(step), peerId: step.peerId ?? "", group: step.group ?? "" };
}

function whole(session: Description | undefined): Description {
  if (session === undefined) {
    throw notWhole("a session");
  }
  return session;
}
