/** Whether the table threw what it had to: the seed it committed itself to, the player's luck, and nothing else. */

import { chance, commitment, dice, type Dice } from "../rules.js";
import type { View } from "../wire.js";

export class Fairness {
  luck = "";
  #committed = "";
  #thrown: Dice[] = [];

  /** The player's luck for a round that begins now; the table has committed itself already. */
  bet(view: View): string {
    this.luck = chance();
    this.#committed = view.commitment;
    this.#thrown = [];
    return this.luck;
  }

  /** Takes a throw. At the end of a round: whether all of it was fair; undefined before. */
  async saw(view: View): Promise<boolean | undefined> {
    if (view.dice !== null) {
      this.#thrown.push(view.dice);
    }
    if (view.seed === "") {
      return undefined;
    }
    const [committed, thrown, luck] = [this.#committed, this.#thrown, this.luck];
    const due = await Promise.all(thrown.map((_, number) => dice(view.seed, luck, number)));
    return (await commitment(view.seed)) === committed && String(due) === String(thrown);
  }
}
