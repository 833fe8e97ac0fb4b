/** The page's files, each of them named; whatever else is asked for is not there. */

import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname } from "node:path";
import { fileURLToPath } from "node:url";

const EXAMPLE = fileURLToPath(new URL("../../../", import.meta.url));
const NOISE_C = dirname(createRequire(import.meta.url).resolve("noise-c.wasm"));

const FILES: Readonly<Record<string, string>> = {
  "/": `${EXAMPLE}page/index.html`,
  "/style.css": `${EXAMPLE}page/style.css`,
  "/icon.svg": `${EXAMPLE}page/icon.svg`,
  "/wire.js": `${EXAMPLE}dist/src/wire.js`,
  "/rules.js": `${EXAMPLE}dist/src/rules.js`,
  "/page/main.js": `${EXAMPLE}dist/src/page/main.js`,
  "/page/connection.js": `${EXAMPLE}dist/src/page/connection.js`,
  "/page/fairness.js": `${EXAMPLE}dist/src/page/fairness.js`,
  "/page/noise.js": `${EXAMPLE}dist/src/page/noise.js`,
  "/page/player.js": `${EXAMPLE}dist/src/page/player.js`,
  "/page/screen.js": `${EXAMPLE}dist/src/page/screen.js`,
  "/noise-c/constants.js": `${NOISE_C}/constants.js`,
  "/noise-c/noise-c.js": `${NOISE_C}/noise-c.js`,
  "/noise-c/noise-c.wasm": `${NOISE_C}/noise-c.wasm`,
  "/noise-c/index.js": `${NOISE_C}/index.js`,
};

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Nothing but these files runs in the page that holds the player's key, and it talks to nobody else. */
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cache-Control": "no-store",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

export async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = FILES[request.url ?? ""];
  if (file === undefined || request.method !== "GET") {
    response.writeHead(404, HEADERS).end();
    return;
  }
  const body = await readFile(file);
  response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[extname(file)] }).end(body);
}
