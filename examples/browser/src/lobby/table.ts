/** Seats and their money. A seat belongs to whoever holds the private key of its name, however often they come back. */

import { BET, chance, commitment, dice, judge, STAKE } from "../rules.js";
import type { Said, View } from "../wire.js";

/** The seat that nobody has asked for the longest makes room. */
const MOST_SEATS = 1_000;

/** What the rules do not allow; the text is for the player. */
export class AgainstTheRules extends Error {}

export class Table {
  readonly #seats = new Map<string, Seat>();

  /** The seat of a player's public key, and whether it had been taken before. */
  async seat(key: string): Promise<{ seat: Seat; back: boolean }> {
    const known = this.#seats.get(key);
    const seat = known ?? new Seat();
    if (known === undefined) {
      await seat.begin();
    }
    this.#seats.delete(key);
    this.#seats.set(key, seat);
    for (const oldest of this.#seats.keys()) {
      if (this.#seats.size <= MOST_SEATS) {
        break;
      }
      this.#seats.delete(oldest);
    }
    return { seat, back: known !== undefined };
  }
}

export class Seat {
  view: View = {
    round: 0,
    commitment: "",
    money: STAKE,
    bet: 0,
    point: 0,
    throws: 0,
    dice: null,
    outcome: "",
    seed: "",
  };
  #seed = "";
  #luck = "";

  /** The next round: a seed that the player sees the hash of. */
  async begin(): Promise<void> {
    this.#seed = chance();
    const { round, money } = this.view;
    // Who has lost everything gets another stake: this is for looking on.
    const stake = money < BET ? STAKE : money;
    this.view = {
      ...this.view,
      round: round + 1,
      commitment: await commitment(this.#seed),
      money: stake,
      bet: 0,
      point: 0,
    };
  }

  /** A bet, with which a round's first throw comes, or a further throw. Throws AgainstTheRules. */
  async play(said: Said): Promise<void> {
    if (said.t === "bet") {
      if (this.view.bet > 0 || said.amount <= 0 || said.amount > this.view.money) {
        throw new AgainstTheRules("You cannot bet that now.");
      }
      this.#luck = said.luck;
      const money = this.view.money - said.amount;
      this.view = { ...this.view, money, bet: said.amount, throws: 0, outcome: "", seed: "" };
    } else if (this.view.bet === 0) {
      throw new AgainstTheRules("First bet, then throw.");
    }
    await this.#throw();
  }

  async #throw(): Promise<void> {
    const { bet, money, throws } = this.view;
    const thrown = await dice(this.#seed, this.#luck, throws);
    const { point, outcome } = judge(this.view.point, thrown[0] + thrown[1]);
    this.view = { ...this.view, dice: thrown, throws: throws + 1, point, outcome };
    if (outcome !== "") {
      this.view = { ...this.view, money: money + (outcome === "win" ? 2 * bet : 0), seed: this.#seed };
      await this.begin();
    }
  }
}
