/** The lobby: a page over HTTP, its players over WebSockets, and noisegate for all that is secret. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, NoisegateError } from "@noisegate/client";
import { WebSocketServer, type WebSocket } from "ws";
import { REFUSED } from "../wire.js";
import { answer } from "./files.js";
import { Table } from "./table.js";
import { NotOurs, Visit } from "./visit.js";

/** The longest Noise message. */
const MOST_BYTES = 65_535;
/** "Try again later", of the registry of close codes. */
const LATER = 1_013;

export interface Lobby {
  /** Where the page is. */
  readonly url: string;
  /** Ends it and every connection; it may have ended already. */
  close(): Promise<void>;
}

/** Serves on loopback, for the noisegate at `target`. A port of 0 is a free one. */
export async function openLobby(target: string, port: number): Promise<Lobby> {
  // In NOISE mode an answer that comes too late costs the session.
  const client = connect(target, { policy: { packetDeadlineMs: 4_000, controlDeadlineMs: 4_000 } });
  const table = new Table();
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: taken } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${taken}`;
  // Pages of others, which the same browser may show, have no business here.
  const verifyClient = ({ origin }: { origin: string }): boolean => [url, `http://localhost:${taken}`].includes(origin);
  const sockets = new WebSocketServer({ server, maxPayload: MOST_BYTES, perMessageDeflate: false, verifyClient });
  sockets.on("connection", (socket) => receive(socket, new Visit(client, table, (frame) => socket.send(frame))));
  return {
    url,
    close: async () => {
      for (const socket of sockets.clients) {
        socket.terminate();
      }
      sockets.close();
      if (server.listening) {
        server.close();
        server.closeAllConnections();
        await once(server, "close");
      }
      client.close();
    },
  };
}

/** Gives a connection's frames to its visit, one after the other: a record's counter is its place among them. */
function receive(socket: WebSocket, visit: Visit): void {
  let before = Promise.resolve();
  const next = (step: () => Promise<void>): void => {
    before = before.then(step).catch((error: unknown) => {
      if (error instanceof NotOurs) {
        socket.close(REFUSED, error.message);
      } else if (error instanceof NoisegateError && error.reason === "HANDSHAKE_FAILED") {
        socket.close(REFUSED, error.reason);
      } else {
        console.error(error);
        socket.close(LATER);
      }
    });
  };
  socket.on("message", (frame: Buffer) => next(() => visit.take(frame)));
  socket.on("close", () => next(() => visit.end()));
  socket.on("error", () => socket.terminate());
}
