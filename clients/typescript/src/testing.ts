/** Runs a real noisegate for a test: `const service = await startService();` */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const READY = "noisegate listening on ";
const START_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 10_000;

/** A service of a test's own. */
export interface Service extends AsyncDisposable {
  /** HOST:PORT. */
  readonly target: string;
  /** Ends it. */
  stop(): Promise<void>;
}

/**
 * Runs `noisegate serve --dev` on a free port of this machine. Keys are made at the start and lost at the end. More
 * arguments of `noisegate serve` may follow.
 *
 * The command is `noisegate` on the PATH (pip install noisegate-server), or what NOISEGATE_COMMAND names. Throws with
 * its log where it does not come up.
 */
export async function startService(...options: string[]): Promise<Service> {
  const command = process.env["NOISEGATE_COMMAND"] ?? "noisegate";
  const argv = ["serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0", ...options];
  const child = spawn(command, argv, { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const exit = once(child, "exit").then(
    () => `it ended`,
    (error) => `${error} (pip install noisegate-server, or set NOISEGATE_COMMAND)`,
  );
  const line = once(createInterface({ input: child.stdout }), "line").then(([text]) => String(text));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, START_WITHIN_MS, "nothing");
  });
  const said = await Promise.race([line, exit, late]);
  clearTimeout(timer);
  if (!said.startsWith(READY)) {
    child.kill("SIGKILL");
    throw new Error(`the service did not come up: ${said}; its log:\n${log}`);
  }
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const stopping = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
    await exit;
    clearTimeout(stopping);
  };
  return { target: said.slice(READY.length), stop, [Symbol.asyncDispose]: stop };
}
