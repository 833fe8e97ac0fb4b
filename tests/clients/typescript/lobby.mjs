// The lobby of tests/clients/test_one_game.py. `node lobby.mjs TARGET TABLE` says its port: it shakes hands with players, or
// resumes their sessions, and hands each session over to the table at HOST:PORT by its id and its endpoint alone.
//
// A player's messages have their length in two bytes before them, and the first is an Opening of examples/dice/wires.py.

import { connect as dial, createServer } from "node:net";
import { createInterface } from "node:readline";
import { connect, messages, RecordMode } from "../../../clients/typescript/dist/src/index.js";

const RESUME = 9;
const mode = RecordMode.NOISE;
const prologue = Buffer.from("one game");

const [target, table] = process.argv.slice(2);
// Patient enough for a busy machine.
const client = connect(target, { policy: { packetDeadlineMs: 4_000, controlDeadlineMs: 4_000 } });
let guests = 0;

async function* frames(socket) {
  let rest = Buffer.alloc(0);
  for await (const bytes of socket) {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()) {
      const end = 2 + rest.readUInt16BE();
      yield rest.subarray(2, end);
      rest = rest.subarray(end);
    }
  }
}

/** Begins a session with what a player's first message holds. */
function begin(opening) {
  const end = 4 + opening.readUInt16BE(2);
  const [ticket, message] = [opening.subarray(4, end), opening.subarray(end)];
  if (opening[0] === RESUME) {
    return client.respondResume({ mode, message, ticket, prologue });
  }
  guests += 1;
  const protocol = { pattern: opening[0], suite: opening[1] };
  return client.respond({ mode, protocol, message, prologue, peerId: `guest-${guests}`, group: "one game" });
}

/** What the table answers: where the player finds it, and by which word it knows the session. */
async function handOver({ id, endpoint, peerId }) {
  const colon = table.lastIndexOf(":");
  const socket = dial(Number(table.slice(colon + 1)), table.slice(0, colon));
  socket.end(`${JSON.stringify({ session: Buffer.from(id).toString("hex"), endpoint, guest: peerId })}\n`);
  for await (const line of createInterface({ input: socket })) {
    return line;
  }
  throw new Error("the table is not there");
}

async function welcome(socket) {
  const arriving = frames(socket);
  const read = async () => (await arriving.next()).value ?? Buffer.alloc(0);
  const write = (each) => {
    for (const message of each) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
    }
  };
  const session = await begin(await read());
  write(session.toPeer);
  while (session.established === undefined) {
    write(await session.proceed(await read()));
  }
  const { plaintext } = await session.decrypt(await read());
  const where = await handOver(session);
  write(messages(await session.encrypt(Buffer.from(`${Buffer.from(plaintext)}, go to ${where}`))));
  socket.end();
}

const server = createServer((socket) => {
  welcome(socket).catch((error) => {
    console.error(error);
    socket.destroy();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
