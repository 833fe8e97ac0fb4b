import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, suite, test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { InterceptingCall, Server, ServerCredentials, type Interceptor } from "@grpc/grpc-js";
import { Code, connect, RecordMode, ResumeNeeded } from "../src/index.js";
import {
  EncryptRequestSchema,
  EncryptResponseSchema,
  TransportRequestSchema,
} from "../src/noisegate/v1/session_crypto_service_pb.js";
import { startService, type Service } from "../src/testing.js";
import { asIs } from "../src/wire.js";

const DATAGRAM = { mode: RecordMode.DATAGRAM };
const POLICY = { packetDeadlineMs: 4_000 };
const SIX = Buffer.from("six");

suite("the stream to a running service", () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  test("calls of many sessions travel together", async () => {
    let [batches, streams] = [0, 0];
    const counting: Interceptor = (options, next) => {
      streams += 1;
      return new InterceptingCall(next(options), {
        sendMessage(message: Uint8Array, send) {
          batches += fromBinary(TransportRequestSchema, message).batches.length;
          send(message);
        },
      });
    };
    const options = { policy: POLICY, multiplex: { tickMs: 20 }, interceptors: [counting] };
    const client = connect(service.target, options);
    const sessions = Array.from({ length: 200 }, (_, n) => client.session(new Uint8Array(24).fill(n), DATAGRAM));
    const results = await Promise.allSettled(sessions.map((session) => session.encrypt(SIX)));
    client.close();
    assert.ok(results.every((result) => result.status === "rejected" && result.reason instanceof ResumeNeeded));
    assert.equal(streams, 1);
    assert.ok(batches <= 20, String(batches));
  });

  test("a program ends once its client is closed", async () => {
    const program = `
      import { connect, RecordMode } from ${JSON.stringify(new URL("../src/index.js", import.meta.url))};
      const client = connect(${JSON.stringify(service.target)}, { multiplex: {}, policy: { packetDeadlineMs: 4000 } });
      const session = client.session(new Uint8Array(24), { mode: RecordMode.DATAGRAM });
      const failure = await session.encrypt(new Uint8Array()).catch((error) => error.name);
      await client.capabilities();
      client.close();
      console.log(failure);`;
    const argv = ["--input-type=module", "-e", program];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (text) => (said += text));
    assert.deepEqual(await once(child, "close"), [0, null]);
    assert.equal(said, "ResumeNeeded\n");
  });
});

/** A service of gRPC that answers Encrypt and Transport as it is told. */
async function answering(t: { after: (end: () => void) => void }, handlers: Record<string, unknown>): Promise<string> {
  const server = new Server();
  const requests = { requestSerialize: asIs, requestDeserialize: asIs };
  const codec = { ...requests, responseSerialize: asIs, responseDeserialize: asIs };
  const row = (name: string, streams: boolean) => {
    const path = `/noisegate.v1.SessionCryptoService/${name}`;
    return { ...codec, path, requestStream: streams, responseStream: streams };
  };
  const definition = { Encrypt: row("Encrypt", false), Transport: row("Transport", true) };
  server.addService(definition, handlers as never);
  const port = await new Promise<number>((resolve, reject) => {
    const bound = (error: Error | null, found: number): void => (error === null ? resolve(found) : reject(error));
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), bound);
  });
  t.after(() => server.forceShutdown());
  return `127.0.0.1:${port}`;
}

test("each call and each stream asks for its token", async (t) => {
  const seen: unknown[] = [];
  const refusal = { code: Code.PERMISSION_DENIED, details: "no" };
  const target = await answering(t, {
    Encrypt(call: any, answer: any) {
      seen.push(...call.metadata.get("authorization"));
      answer(refusal);
    },
    Transport(stream: any) {
      seen.push(...stream.metadata.get("authorization"));
      stream.emit("error", refusal);
    },
  });
  let asked = 0;
  const token = async (): Promise<string> => {
    asked += 1;
    return `token ${asked}`;
  };
  for (const options of [{}, { multiplex: {} }]) {
    const client = connect(target, { ...options, token, policy: POLICY });
    const session = client.session(new Uint8Array(24), DATAGRAM);
    await assert.rejects(session.encrypt(SIX), { code: Code.PERMISSION_DENIED });
    client.close();
  }
  assert.deepEqual(seen, ["Bearer token 1", "Bearer token 2"]);
});

test("a repeat has the same request_id, and another call has another", async (t) => {
  const ids: string[] = [];
  const target = await answering(t, {
    Encrypt(call: any, answer: any) {
      ids.push(fromBinary(EncryptRequestSchema, call.request).requestId);
      if (ids.length < 3) {
        answer({ code: Code.UNAVAILABLE, details: "not now" });
        return;
      }
      const sealed = create(EncryptResponseSchema, { ciphertext: Buffer.from("sealed") });
      answer(null, Buffer.from(toBinary(EncryptResponseSchema, sealed)));
    },
  });
  const client = connect(target, { policy: POLICY });
  t.after(() => client.close());
  const session = client.session(new Uint8Array(24), DATAGRAM);
  assert.equal(String(Buffer.from((await session.encrypt(SIX)).packet)), "sealed");
  assert.equal(ids.length, 3);
  assert.equal(new Set(ids).size, 1);
  await session.encrypt(SIX);
  assert.equal(new Set(ids).size, 2);
});

test("a call that waits for its token ends with its signal", async () => {
  const stop = new AbortController();
  const token = (): Promise<string> => {
    stop.abort();
    return new Promise(() => {});
  };
  const client = connect("127.0.0.1:1", { token });
  await assert.rejects(client.capabilities({ signal: stop.signal }), { code: Code.CANCELLED });
  client.close();
});
