/** Plays in headless Chromium, and reads what is on the screen. CHROMIUM names another one than that of the PATH. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startService, type Service } from "@noisegate/client/testing";
import { chromium, type Browser, type Page, type WebSocket } from "playwright-core";
import { openLobby, type Lobby } from "../src/lobby/lobby.js";

const PATIENCE_MS = 30_000;

let service: Service;
let lobby: Lobby;
let browser: Browser;

before(async () => {
  service = await startService();
  lobby = await openLobby(service.target, 0);
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    // As root, which containers are, Chromium has no sandbox; it opens nothing but our own page.
    chromiumSandbox: process.getuid?.() !== 0,
  });
});

after(async () => {
  await browser?.close();
  await lobby?.close();
  await service?.stop();
});

/** A player at the table: the page, and every frame that it sent or got. */
class Guest {
  readonly frames: Buffer[] = [];
  readonly complaints: string[] = [];
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") {
        this.complaints.push(message.text());
      }
    });
    page.on("websocket", (socket: WebSocket) => {
      for (const way of ["framesent", "framereceived"] as const) {
        socket.on(way as "framesent", ({ payload }) => this.frames.push(Buffer.from(payload as Buffer)));
      }
    });
  }

  /** Waits for words in a place of the screen. */
  async sees(place: string, words: string | RegExp): Promise<void> {
    await this.page.locator(place).filter({ hasText: words }).first().waitFor();
  }

  text(place: string): Promise<string> {
    return this.page.locator(place).innerText();
  }

  click(button: string): Promise<void> {
    return this.page.locator(button).click();
  }
}

declare global {
  var made: Uint8Array[][];
  var noise_c_wasm: (ready: (noise: { CreateKeyPair(curve: number): Uint8Array[] }) => void) => void;
}

/** Runs in the page, before its own scripts: remembers the keys that the library makes. */
function rememberKeys(): void {
  globalThis.made = [];
  let create: typeof noise_c_wasm;
  Object.defineProperty(globalThis, "noise_c_wasm", {
    set: (original) => (create = original),
    get: (): typeof noise_c_wasm => (ready) =>
      create((noise) => {
        const { CreateKeyPair } = noise;
        noise.CreateKeyPair = (curve) => {
          const pair = CreateKeyPair(curve);
          globalThis.made.push(pair);
          return pair;
        };
        ready(noise);
      }),
  });
}

async function sitDown(url = lobby.url): Promise<Guest> {
  const guest = new Guest(await browser.newPage());
  await guest.page.addInitScript(rememberKeys);
  await guest.page.goto(url);
  await guest.sees("#log", /Welcome; same handshake hash/);
  return guest;
}

for (const time of ["first", "second"]) {
  test(`handshake, dice, attacks, fresh keys and a way back, for the ${time} time in one browser`, async () => {
    const guest = await sitDown();
    for (const message of ["XX message 1: e", "XX message 2: e, ee, s, es", "XX message 3: s, se"]) {
      await guest.sees("#log .handshake", message);
    }
    await guest.sees("#protocol", "Noise_XX_25519_ChaChaPoly_SHA256");
    await guest.sees("#verified", "the same at both ends");
    const own = await guest.text("#own");

    await playRound(guest);
    await guest.sees("#log .record", "You bet $10 and throw");
    await guest.sees("#fair", "your browser has checked these dice");
    const money = await guest.text("#money");
    assert.match(money, /^\$(90|110)$/);

    await guest.click("#forge");
    await guest.sees("#log .attack", "Your browser refused it: NOISE_ERROR_MAC_FAILURE");
    await guest.sees("#log .attack", /noisegate refused \d+ bytes: DECRYPT_FAILED/);
    await guest.sees("#refused", /^2$/);
    await guest.click("#replay");
    await guest.sees("#refused", /^3$/);

    const hash = await guest.text("#hash");
    await guest.click("#rotate");
    await guest.sees("#log .rotation", "XX message 3: s, se");
    await guest.sees("#log .rotation", "Fresh keys, epoch 1");
    await guest.sees("#epoch", /^1$/);
    assert.notEqual(await guest.text("#hash"), hash);

    await guest.click("#cut");
    await guest.sees("#log .note", "The connection is cut");
    await guest.sees("#log .handshake", "IK message 2: e, ee, se");
    await guest.sees("#log .record", "Welcome back to your seat; same handshake hash");
    await guest.sees("#protocol", "Noise_IK_25519_ChaChaPoly_SHA256");
    assert.deepEqual([await guest.text("#money"), await guest.text("#own")], [money, own]);

    await guest.click("#rotate");
    await guest.sees("#log .rotation", "IK message 2: e, ee, se");
    await guest.sees("#epoch", /^1$/);
    await playRound(guest);

    assert.deepEqual(guest.complaints, []);
    await guest.page.close();
  });
}

test("the key is made in the page and never leaves it, and no word of the game travels in the open", async () => {
  const guest = await sitDown();
  await playRound(guest);
  await guest.click("#rotate");
  await guest.sees("#epoch", /^1$/);
  const pairs = await guest.page.evaluate(() => globalThis.made.map((pair) => pair.map((key) => Array.from(key))));
  assert.equal(pairs.length, 1);
  const [privateKey, publicKey] = pairs[0]!.map((key) => Buffer.from(key));
  assert.equal(publicKey!.toString("hex"), await guest.text("#own"));
  const travelled = Buffer.concat(guest.frames);
  assert.ok(travelled.length > 0);
  for (const secret of [privateKey!, publicKey!, Buffer.from("bet"), Buffer.from("commitment")]) {
    assert.ok(!travelled.includes(secret), secret.toString("latin1"));
  }
  await guest.page.close();
});

test("a table with another key than before is not played with", async (t) => {
  const first = await openLobby(service.target, 0);
  t.after(() => first.close());
  const guest = await sitDown(first.url);
  const other = await startService();
  t.after(() => other.stop());
  await first.close();
  const second = await openLobby(other.target, Number(new URL(first.url).port));
  t.after(() => second.close());
  await guest.sees("#log .attack", "The table refused you: HANDSHAKE_FAILED");
  await guest.sees("#state", "refused");
  assert.ok(await guest.page.locator("#play").isDisabled());
  await guest.page.close();
});

test("what the screen shows of a record is what travelled", async () => {
  const guest = await sitDown();
  await playRound(guest);
  const shown = await guest.page.locator("#log .record .hex").allInnerTexts();
  const travelled = guest.frames.map((frame) => frame.toString("hex"));
  assert.ok(shown.length >= 3);
  assert.deepEqual(
    shown.filter((digits) => !travelled.includes(digits)),
    [],
  );
  await guest.page.close();
});

/** Bets, and throws until the round is over. */
async function playRound(guest: Guest): Promise<void> {
  const throws = guest.page.locator("#log .record", { hasText: "The dice" });
  do {
    const before = await throws.count();
    await guest.click("#play");
    await throws.nth(before).waitFor();
  } while (!/Bet/.test(await guest.text("#play")));
  await guest.sees("#outcome", /^\d+! (You win|The house wins)/);
}
