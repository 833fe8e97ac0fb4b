/** The page: a player, its connection, and the buttons. */

import { BET } from "../rules.js";
import type { View } from "../wire.js";
import { Connection } from "./connection.js";
import { Fairness } from "./fairness.js";
import { load } from "./noise.js";
import { Player } from "./player.js";
import { element, showDice, showFair, showRow, showSession, showView } from "./screen.js";

const player = new Player(await load());
const fairness = new Fairness();
let view: View | undefined;

const connection = new Connection(player, {
  row: showRow,
  changed: () => showSession(player, connection),
  told: (told) => {
    if (told.t !== "welcome" && told.t !== "table") {
      return;
    }
    view = told.view;
    showView(view);
    if (told.t === "table" && view.dice !== null) {
      showDice(view.dice);
      void fairness.saw(view).then(showFair);
    }
  },
});

const acts: Readonly<Record<string, () => void>> = {
  play: () => {
    if (view === undefined) {
      return;
    }
    if (view.bet > 0) {
      connection.say({ t: "throw" }, "You throw");
    } else {
      connection.say({ t: "bet", amount: BET, luck: fairness.bet(view) }, `You bet $${BET} and throw`);
    }
  },
  rotate: () => connection.rotate(),
  cut: () => connection.cut(),
  forge: () => connection.forge(),
  replay: () => connection.replay(),
};
for (const [id, act] of Object.entries(acts)) {
  element(id).addEventListener("click", act);
}
connection.open();
