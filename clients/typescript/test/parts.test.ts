import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ResumeNeeded } from "../src/errors.js";
import { BadFragment, DEFAULT_MTU, DEFAULT_REASSEMBLY, Reassembler, split } from "../src/fragments.js";
import { ErrorReason } from "../src/noisegate/v1/error_reason_pb.js";
import { ControlKind, DecryptBatchResponseSchema } from "../src/noisegate/v1/session_crypto_service_pb.js";
import { backoff, DEFAULT_POLICY } from "../src/options.js";
import { peek } from "../src/packet.js";
import { encryptBatchOf, openedItems, type Item } from "../src/packing.js";
import { Path } from "../src/paths.js";
import { refusedFor, type Opened } from "../src/records.js";
import { Turns } from "../src/turns.js";

const NONE = new Uint8Array();

function record(size: number): Buffer {
  const body = Array.from({ length: size - 9 }, (_, n) => n & 0xff);
  return Buffer.concat([Buffer.from("\x0aconnect!"), Buffer.from(body)]);
}

suite("packets", () => {
  test("peek reads type and connection id of our packets alone", () => {
    const connectionId = Buffer.from("connect!").toString("hex");
    assert.deepEqual(peek(record(9)), { type: "RECORD", connectionId });
    for (let first = 0; first < 256; first += 1) {
      const packet = record(9);
      packet[0] = first;
      assert.equal(peek(packet) !== undefined, first >= 0x09 && first <= 0x0e, String(first));
    }
    assert.equal(peek(record(9).subarray(0, 8)), undefined);
  });

  test("large packets come back whole from their parts in any order", () => {
    for (const size of [1_201, 5_000, 65_535]) {
      const packet = record(size);
      const reassembler = new Reassembler();
      const parts = split(packet, 7).reverse();
      parts.forEach((part, n) => {
        assert.ok(part.length <= DEFAULT_MTU);
        const whole = reassembler.add(part, "ann", 0);
        assert.equal(whole !== undefined, n === parts.length - 1);
        if (whole !== undefined) {
          assert.ok(packet.equals(whole));
        } else {
          assert.equal(reassembler.add(part, "ann", 0), undefined, "a part that comes twice changes nothing");
        }
      });
      assert.equal(reassembler.heldBytes, 0);
    }
    assert.deepEqual(split(record(1_200), 7), [record(1_200)]);
  });

  test("what cannot be cut is refused", () => {
    const fragment = record(2_000);
    fragment[0] = 0x0d;
    for (const packet of [fragment, Buffer.alloc(2_000), record(65_536)]) {
      assert.throws(() => split(packet, 0), RangeError);
    }
    assert.throws(() => split(record(2_000), 0, 14), RangeError, "more than 255 parts");
  });

  test("strangers' parts cost bounded memory for a bounded time", () => {
    const reassembler = new Reassembler();
    const firsts = Array.from({ length: 12 }, (_, message) => split(record(30_000), message, 20_000)[0]!);
    for (let source = 0; source < 500; source += 1) {
      for (const first of firsts) {
        reassembler.add(first, String(source), 0);
        assert.ok(reassembler.heldBytes <= DEFAULT_REASSEMBLY.totalBytes);
      }
    }
    assert.ok(reassembler.heldBytes > 3_000_000);
    reassembler.add(split(record(30_000), 99, 20_000)[0]!, "late", DEFAULT_REASSEMBLY.lifetimeMs);
    assert.ok(reassembler.heldBytes < 30_000);
  });

  test("malformed parts are refused", () => {
    const parts = split(record(3_000), 1);
    const past = Buffer.from(parts[0]!);
    past[11] = past[12]!;
    for (const part of [parts[0]!.subarray(0, 13), past, record(20)]) {
      assert.throws(() => new Reassembler().add(part, "", 0), BadFragment);
    }
    const reassembler = new Reassembler();
    // Their sum is a packet of another connection than theirs.
    const [last, ...others] = parts.map((part) => Buffer.from(part).fill(0x21, 1, 2));
    others.forEach((part) => reassembler.add(part, "", 0));
    assert.throws(() => reassembler.add(last!, "", 0), BadFragment);
    assert.equal(reassembler.heldBytes, 0);
  });
});

suite("batches", () => {
  const id = (n: number): Uint8Array => new Uint8Array(24).fill(n);
  const item = (n: number, body = "", beside = ""): Item => {
    return { sessionId: id(n), body: Buffer.from(body), associatedData: Buffer.from(beside) };
  };

  test("neighbours of one session stand under one id", () => {
    const packed = encryptBatchOf([item(1, "a"), item(1, "", "ad"), item(2, "bc"), item(1, "d")], "");
    assert.deepEqual([...packed.sessionIds], [...id(1), ...id(2), ...id(1)]);
    assert.deepEqual(
      [packed.counts, packed.lengths],
      [
        [2, 1, 1],
        [1, 0, 2, 1],
      ],
    );
    assert.deepEqual([String(packed.plaintexts), packed.associatedDataLengths], ["abcd", [0, 2, 0, 0]]);
    const single = encryptBatchOf([item(1), item(2)], "");
    assert.deepEqual([single.counts, single.associatedDataLengths], [[], []]);
  });

  const answer = {
    plaintexts: Buffer.from("hi"),
    lengths: [2, 0, 0, 0],
    counters: [7n, 0n, 0n, 0n],
    newest: Uint8Array.of(1, 0, 0, 0),
    early: [0],
    rotationDue: [0],
    controls: [{ index: 1, kind: ControlKind.KEEP_ALIVE, answered: Buffer.from("token") }],
    toPeer: [{ index: 1, toPeer: [Buffer.from("pong")] }],
    errors: [
      { index: 2, code: 3, reason: ErrorReason.DECRYPT_FAILED },
      { index: 3, code: 5, reason: ErrorReason.SESSION_NOT_FOUND },
    ],
  };
  const items = [item(1), item(2), item(3), item(4)];

  test("each item gets its result", () => {
    const [data, control, forged, lost] = openedItems(create(DecryptBatchResponseSchema, answer), items) as Opened[];
    assert.deepEqual([String(data!.plaintext), data!.counter], ["hi", 7n]);
    assert.ok(data!.newest && data!.early && data!.rotationDue && !control!.newest && !control!.early);
    assert.deepEqual([control!.plaintext, String(control!.answered), control!.toPeer.length], [undefined, "token", 1]);
    assert.deepEqual([forged!.refused, forged!.plaintext], ["DECRYPT_FAILED", undefined]);
    assert.ok((lost as unknown) instanceof ResumeNeeded);
  });

  test("an answer that is not whole is refused", () => {
    const spoilt = [
      { lengths: [2, 0, 0] },
      { lengths: [3, 0, 0, 0] },
      { lengths: [1, 0, 0, 0] },
      { lengths: [2 ** 32 - 1, 0, 0, 0] },
      { counters: [1n] },
      { newest: new Uint8Array(3) },
      { errors: [{ index: 4 }] },
      { early: [2 ** 32 - 1] },
    ];
    for (const wrong of spoilt) {
      const whole = create(DecryptBatchResponseSchema, { ...answer, ...wrong });
      assert.throws(() => openedItems(whole, items), { name: "NoisegateError", reason: "" }, Object.keys(wrong)[0]);
    }
  });
});

suite("paths", () => {
  const opened = (what: Partial<Opened>): Opened => ({ ...refusedFor(NONE, ""), ...what });

  test("an address that proved nothing gets three times what came", () => {
    const path = new Path("here", 100, true);
    assert.deepEqual([path.maySend(300), path.maySend(1)], [true, false]);
    path.cameFrom("elsewhere", 100);
    assert.equal(path.maySend(1), false);
    path.cameFrom("here", 1);
    assert.equal(path.maySend(3), true);
    path.finished("here");
    assert.equal(path.maySend(1 << 20), true);
  });

  test("a player is followed by its newest record alone, and believed again at home", () => {
    const path = new Path("home", 100, true);
    path.finished("home");
    assert.equal(path.opened("away", 50, opened({ counter: 9n })), false);
    assert.equal(path.opened("away", 50, opened({ newest: true, counter: 5n })), true);
    assert.deepEqual([path.address, path.verified, path.maySend(151)], ["away", false, false]);
    assert.equal(path.opened("home", 50, opened({ newest: true, counter: 4n })), false, "an answer that comes late");
    assert.equal(path.opened("home", 50, opened({ newest: true, counter: 6n })), true);
    assert.equal(path.verified, true);
  });

  test("only the answer to our question from there proves an address", () => {
    const path = new Path("here", 10, false);
    const question = Buffer.from("question");
    path.finished("here");
    path.answered("here", NONE);
    path.ask(question);
    path.answered("here", Buffer.from("answers!"));
    path.answered("there", question);
    assert.equal(path.verified, false);
    path.answered("here", question);
    assert.equal(path.verified, true);
  });
});

suite("turns", () => {
  test("calls of one direction run one after the other, and one that gives up does not hold up the rest", async () => {
    const turns = new Turns();
    const order: string[] = [];
    const first = await turns.take(["sending"]);
    const stop = new AbortController();
    const second = turns.take(["sending"], stop.signal);
    const third = turns.take(["sending"]).then((release) => {
      order.push("third");
      release();
    });
    (await turns.take(["receiving"]))();
    stop.abort();
    await assert.rejects(second, { reason: "" });
    order.push("first over");
    first();
    await third;
    assert.deepEqual(order, ["first over", "third"]);
  });
});

test("back-off doubles up to its most", () => {
  [25, 50, 100, 200, 400, 500, 500].forEach((most, repeat) => {
    const delays = [backoff(DEFAULT_POLICY, repeat, 0, 0), backoff(DEFAULT_POLICY, repeat, 1, 9)];
    assert.deepEqual(delays, [most / 2, most + 9]);
  });
});
