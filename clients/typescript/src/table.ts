/** The sessions that a receiver knows. */

import { echoIn, echoOf, hex, isConnectionId } from "./packet.js";
import type { Path } from "./paths.js";
import type { Session } from "./session.js";

export interface Tracked {
  readonly session: Session;
  readonly id: string;
  readonly path: Path;
  /** When its handshake is given up; undefined once it is established. */
  expiresAt: number | undefined;
  readonly connectionIds: Set<string>;
  /** What a RETRY to a packet with which the game began it would carry, while its handshake has not finished. */
  readonly echoes: Set<string>;
}

/**
 * Sessions by connection id and by id: at most `limit` that live and `limit` half-open ones, each the latest used.
 * Apart, so that a flood of forged first packets cannot push out sessions that live.
 */
export class SessionTable {
  readonly #byId = new Map<string, Tracked>();
  readonly #byConnection = new Map<string, Tracked>();
  readonly #byEcho = new Map<string, Tracked>();
  /** The longest unused in front. */
  readonly #live = new Set<Tracked>();
  /** The oldest in front. */
  readonly #halfOpen = new Set<Tracked>();

  constructor(readonly limit: number) {}

  /** The session whose player's packets carry this connection id. */
  find(connectionId: string): Tracked | undefined {
    const found = this.#byConnection.get(connectionId);
    if (found !== undefined && this.#live.delete(found)) {
      this.#live.add(found);
    }
    return found;
  }

  get(session: Session): Tracked | undefined {
    return this.#byId.get(hex(session.id));
  }

  /** Takes up a session; one without an expiry is established. */
  add(session: Session, path: Path, expiresAt: number | undefined): Tracked {
    this.remove(session);
    const id = hex(session.id);
    const tracked: Tracked = { session, id, path, expiresAt, connectionIds: new Set(), echoes: new Set() };
    this.#byId.set(id, tracked);
    this.#place(tracked, expiresAt === undefined ? this.#live : this.#halfOpen);
    this.alias(tracked, hex(session.connectionId));
    return tracked;
  }

  /** The player's packets carry this connection id too. */
  alias(tracked: Tracked, connectionId: string): void {
    if (isConnectionId(connectionId) && this.#has(tracked)) {
      this.#byConnection.set(connectionId, tracked);
      tracked.connectionIds.add(connectionId);
    }
  }

  /** The game began this session with these packets, or began it anew. */
  sent(tracked: Tracked, packets: readonly Uint8Array[]): void {
    if (tracked.expiresAt === undefined || !this.#has(tracked)) {
      return;
    }
    for (const echo of packets.map(echoOf)) {
      this.#byEcho.set(echo, tracked);
      tracked.echoes.add(echo);
    }
  }

  /** The half-open session that sent the packet which this RETRY refuses. */
  thatSent(retry: Uint8Array): Tracked | undefined {
    return this.#byEcho.get(echoIn(retry) ?? "");
  }

  /** The session is established. */
  settle(tracked: Tracked): void {
    this.#forgetEchoes(tracked);
    if (tracked.expiresAt !== undefined && this.#has(tracked)) {
      tracked.expiresAt = undefined;
      this.#halfOpen.delete(tracked);
      this.#place(tracked, this.#live);
    }
  }

  /** Forgets handshakes that nobody finished. */
  expire(now: number): void {
    for (const oldest of this.#halfOpen) {
      if (oldest.expiresAt !== undefined && oldest.expiresAt > now) {
        return;
      }
      this.#drop(oldest);
    }
  }

  /** Nothing happens if it is not known. */
  remove(session: Session): void {
    const known = this.get(session);
    if (known !== undefined) {
      this.#drop(known);
    }
  }

  #has(tracked: Tracked): boolean {
    return this.#byId.get(tracked.id) === tracked;
  }

  #place(tracked: Tracked, among: Set<Tracked>): void {
    among.add(tracked);
    const [oldest] = among;
    if (among.size > this.limit && oldest !== undefined) {
      this.#drop(oldest);
    }
  }

  #drop(tracked: Tracked): void {
    this.#byId.delete(tracked.id);
    this.#live.delete(tracked);
    this.#halfOpen.delete(tracked);
    this.#forgetEchoes(tracked);
    for (const connectionId of tracked.connectionIds) {
      if (this.#byConnection.get(connectionId) === tracked) {
        this.#byConnection.delete(connectionId);
      }
    }
  }

  #forgetEchoes(tracked: Tracked): void {
    for (const echo of tracked.echoes) {
      if (this.#byEcho.get(echo) === tracked) {
        this.#byEcho.delete(echo);
      }
    }
    tracked.echoes.clear();
  }
}
