import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { inspect } from "node:util";
import * as noisegate from "../src/index.js";
import { startService, type Service } from "../src/testing.js";

const { Code, connect, NoisegateError, Pattern, RecordMode, ResumeNeeded, Suite } = noisegate;
const XX = { mode: RecordMode.NOISE, protocol: { pattern: Pattern.XX, suite: Suite.CHACHA20_POLY1305_X25519 } };
const NOBODY = new Uint8Array(24);

function has(reason: string) {
  return (error: unknown) => error instanceof NoisegateError && error.reason === reason;
}

// One service for all, since each start costs the better part of a second.
suite("against a running service", () => {
  let service: Service;
  const clients: noisegate.Client[] = [];
  before(async () => {
    service = await startService("--sessions-per-peer", "100");
  });
  after(async () => {
    clients.forEach((client) => client.close());
    await service.stop();
  });

  function client(options: noisegate.ConnectOptions = {}): noisegate.Client {
    // Patient enough for a busy machine.
    const policy = { packetDeadlineMs: 4_000, controlDeadlineMs: 4_000, ...options.policy };
    const made = connect(service.target, { ...options, policy });
    clients.push(made);
    return made;
  }

  test("capabilities name the static key", async () => {
    assert.equal((await client().capabilities()).staticKey.length, 32);
  });

  test("a refusal has its code and its reason", async () => {
    const refused = client().respond({ ...XX, message: Buffer.from("no handshake") });
    await assert.rejects(refused, { name: "NoisegateError", code: Code.INVALID_ARGUMENT, reason: "HANDSHAKE_FAILED" });
  });

  test("a session that is unknown needs a resume, and its handle knows that it is over", async () => {
    const session = client().session(NOBODY, { mode: RecordMode.NOISE });
    await assert.rejects(session.encrypt(new Uint8Array()), ResumeNeeded);
    assert.equal(session.ended, true);
  });

  test("what is for the player goes to the hook alone", async () => {
    const sent: Uint8Array[] = [];
    const onSend = (session: noisegate.Session, messages: Uint8Array[]): void => {
      assert.equal(session.peerId, "ann");
      sent.push(...messages);
    };
    const session = await client({ onSend }).initiate({ ...XX, peerId: "ann" });
    assert.deepEqual(
      sent.map((message) => message.length),
      [32],
    );
    assert.deepEqual(session.toPeer, []);
  });

  test("a session lives at an endpoint, and listing finds it", async () => {
    const mine = client();
    const session = await mine.initiate({ ...XX, group: "table" });
    assert.equal(session.endpoint, service.target);
    const found = [];
    for await (const described of mine.sessions({ group: "table" })) {
      found.push(Buffer.from(described.sessionId));
    }
    assert.deepEqual(found, [Buffer.from(session.id)]);
    await session.close();
    assert.equal(session.ended, true);
  });

  test("a watch begins with watching, and ends with the loop or with its signal", async () => {
    for await (const told of client().watch()) {
      assert.equal(told.what.case, "watching");
      break;
    }
    const stop = new AbortController();
    const watching = async (): Promise<void> => {
      for await (const _ of client().watch({}, { signal: stop.signal })) {
        stop.abort();
      }
    };
    await assert.rejects(watching(), { code: Code.CANCELLED });
  });

  test("items of a batch fail one by one", async () => {
    const mine = client();
    const session = await mine.initiate(XX);
    const body = new Uint8Array();
    const [early, lost] = await mine.encryptBatch([
      { session, body },
      { session: mine.session(NOBODY), body },
    ]);
    assert.ok(has("NOT_ESTABLISHED")(early));
    assert.ok(lost instanceof ResumeNeeded);
  });

  test("the multiplexer tells each call what became of it", async () => {
    const session = await client({ multiplex: {} }).initiate(XX);
    await assert.rejects(session.encrypt(new Uint8Array()), has("NOT_ESTABLISHED"));
  });

  test("a closed client says so", async () => {
    for (const options of [{}, { multiplex: {} }]) {
      const mine = client(options);
      const session = await mine.initiate(XX);
      mine.close();
      await assert.rejects(session.encrypt(new Uint8Array()), noisegate.ClientClosed);
    }
  });

  test("a call that was cancelled before it began is not made", async () => {
    for (const options of [{}, { multiplex: {} }]) {
      const session = await client(options).initiate(XX);
      const signal = AbortSignal.abort();
      await assert.rejects(session.encrypt(new Uint8Array(), { signal }), { code: Code.CANCELLED });
    }
  });

  test("a hook puts the trace context on each call", async () => {
    let calls = 0;
    const inject = (headers: Record<string, string>): void => {
      calls += 1;
      headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    };
    await client({ inject }).capabilities();
    assert.equal(calls, 1);
  });

  test("a handle shows nothing of its session", async () => {
    const session = await client().initiate({ ...XX, peerId: "bea" });
    for (const shown of [inspect(session, { depth: 9, showHidden: true }), JSON.stringify(session), String(session)]) {
      assert.ok(shown.length < 30 && !shown.includes("bea"), shown);
    }
  });
});

test("plaintext stays on this machine", () => {
  const token = (): string => "secret";
  const far = ["10.0.0.1:7443", "example.com:7443", "localhost.example:7443", "[::2]:7443", "noisegate"];
  for (const target of far) {
    assert.throws(() => connect(target), { name: "InsecureTarget", target });
  }
  // A token is good for whoever reads it, even in a network that is trusted.
  assert.throws(() => connect("10.0.0.2:7443", { insecure: true, token }), noisegate.InsecureTarget);
  for (const target of ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/noisegate"]) {
    connect(target, { token }).close();
  }
  connect("10.0.0.1:1", { insecure: true }).close();
});

test("a packet does not wait for a server, and a control call does", async () => {
  // Nobody listens there: the port of a service that has gone.
  const client = connect("127.0.0.1:1", { policy: { attempts: 1, controlDeadlineMs: 50, packetDeadlineMs: 4_000 } });
  const session = client.session(NOBODY, { mode: RecordMode.DATAGRAM });
  await assert.rejects(session.encrypt(new Uint8Array()), { code: Code.UNAVAILABLE });
  await assert.rejects(client.capabilities(), { code: Code.DEADLINE_EXCEEDED });
  client.close();
});

test("options out of their ranges are refused", () => {
  assert.throws(() => connect("127.0.0.1:1", { policy: { attempts: 0 } }), RangeError);
  assert.throws(() => connect("127.0.0.1:1", { multiplex: { maxItems: 1_025 } }), RangeError);
});
