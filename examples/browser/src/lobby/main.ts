/**
 * `node dist/src/lobby/main.js [TARGET]`: the lobby for the noisegate at HOST:PORT; without a target it starts one, `noisegate
 * serve --dev`. PORT of the environment is the page's, 8100 without it.
 */

import { startService } from "@noisegate/client/testing";
import { openLobby } from "./lobby.js";

const given = process.argv[2];
const service = given === undefined ? await startService() : undefined;
const target = given ?? service!.target;
try {
  const lobby = await openLobby(target, Number(process.env["PORT"] ?? 8_100));
  console.log(`noisegate at ${target}, the lobby in front of it. Open ${lobby.url} and play; Ctrl-C ends it.`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void lobby.close().then(() => service?.stop()));
  }
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
  await service?.stop();
}
