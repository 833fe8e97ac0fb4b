/** What is on the screen. It only shows; nothing is decided here. */

import { hex, type Call, type View } from "../wire.js";
import type { Connection, Row } from "./connection.js";
import type { Player } from "./player.js";

const STATES: Readonly<Record<Connection["state"], string>> = {
  away: "coming back",
  shaking: "shaking hands",
  playing: "sealed",
  rotating: "changing keys",
  refused: "refused",
};
const ARROWS: Readonly<Record<Row["way"], string>> = { up: "↑", down: "↓", "": "" };
/** The oldest lines go. */
const MOST_ROWS = 500;

/** The element of that id, which index.html has. */
export function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`index.html has no #${id}`);
  }
  return found;
}

export function showSession(player: Player, connection: Connection): void {
  const { channel, epoch, opened, protocol, refused, sealed, sessions, state, verified } = connection;
  element("state").textContent = STATES[state];
  element("state").dataset["state"] = state;
  const facts = { sessions, protocol: protocol || "-", epoch, sealed, opened, refused };
  for (const [id, value] of Object.entries(facts)) {
    element(id).textContent = String(value);
  }
  element("own").textContent = hex(player.publicKey);
  element("pinned").textContent = player.tableKey === null ? "-" : hex(player.tableKey);
  element("hash").textContent = channel === undefined ? "-" : hex(channel.hash);
  element("verified").textContent = verified ? "the same at both ends" : "not yet compared";
  element("verified").dataset["same"] = String(verified);
  for (const id of ["play", "rotate", "cut", "forge", "replay"]) {
    (element(id) as HTMLButtonElement).disabled = state !== "playing" || protocol === "";
  }
}

export function showView(view: View): void {
  const { bet, dice, money, outcome, point, round } = view;
  element("round").textContent = String(outcome === "" ? round : round - 1);
  element("point").textContent = point === 0 ? "off" : String(point);
  element("bet").textContent = `$${bet}`;
  element("money").textContent = `$${money}`;
  element("play").textContent = bet > 0 ? `Throw for ${point}` : "Bet $10 and throw";
  const said = {
    win: "You win.",
    lose: "The house wins.",
    "": point === 0 ? "" : `The point is ${point}: once more before a 7.`,
  };
  if (dice !== null) {
    element("outcome").textContent = `${dice[0] + dice[1]}! ${said[outcome]}`;
    element("outcome").dataset["outcome"] = outcome;
  }
}

/** Lets the dice fall. */
export function showDice(dice: readonly [number, number]): void {
  element("dice").ariaLabel = `${dice[0]} and ${dice[1]}`;
  element("dice")
    .querySelectorAll<HTMLElement>(".die")
    .forEach((die, at) => {
      die.dataset["face"] = String(dice[at]);
      restart(die, "thrown");
    });
}

export function showFair(fair: boolean | undefined): void {
  const words = { true: "✓ your browser has checked these dice", false: "✗ THESE DICE WERE NOT FAIR", undefined: "" };
  element("fair").textContent = words[`${fair}`];
}

export function showRow(row: Row): void {
  const line = document.createElement("li");
  line.className = row.kind;
  const bytes = row.bytes === undefined ? "" : hex(row.bytes);
  const cells: readonly (readonly [string, string])[] = [
    ["arrow", ARROWS[row.way]],
    ["what", row.text],
    ["size", row.bytes === undefined ? "" : `${row.bytes.length} B`],
    ["hex", bytes],
    ["calls", counted(row.calls ?? [])],
  ];
  for (const [name, text] of cells) {
    const cell = document.createElement("span");
    cell.className = name;
    cell.textContent = text;
    line.append(cell);
  }
  line.title = bytes;
  const log = element("log");
  log.prepend(line);
  while (log.childElementCount > MOST_ROWS) {
    log.lastElementChild?.remove();
  }
  if (row.way !== "") {
    element("wire").style.setProperty("--flash", `var(--${row.kind})`);
    restart(element("wire"), "pulse");
  }
}

/** "2 Decrypt, Rotate, 1.2 ms": what noisegate was asked for, and how long that took in all. */
function counted(calls: readonly Call[]): string {
  const times = new Map<string, number>();
  for (const { rpc } of calls) {
    times.set(rpc, (times.get(rpc) ?? 0) + 1);
  }
  const names = [...times].map(([rpc, count]) => (count > 1 ? `${count} ${rpc}` : rpc));
  const ms = calls.reduce((sum, call) => sum + call.ms, 0);
  return calls.length > 0 ? `${names.join(", ")}, ${ms.toFixed(1)} ms` : "";
}

/** Begins an animation again, also where it is under way. */
function restart(shown: HTMLElement, name: string): void {
  shown.classList.remove(name);
  void shown.offsetWidth;
  shown.classList.add(name);
}
