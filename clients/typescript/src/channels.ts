/** One connection for each endpoint, made when first needed, all with the same credentials. */

import { Client as Channel, Metadata, type ChannelOptions } from "@grpc/grpc-js";
import { ClientClosed } from "./errors.js";
import { credentialsFor, type ConnectOptions } from "./options.js";

/** How many connections are kept, unless more are in use; the longest unused gives way. */
export const MAX_CHANNELS = 64;

/** A page of 1,000 sessions is the longest answer. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

const OPTIONS: ChannelOptions = {
  // New sessions spread over the instances behind a headless name; a session's own calls go to its one endpoint. A name
  // server must not be able to change how calls are repeated.
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_retries": 0,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // A packet's deadline is 250 ms, and gRPC's own second before it connects again would fail every packet of it.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  "grpc.primary_user_agent": "noisegate-typescript",
  // A stream has a connection of its own; calls must not wait behind its bytes.
  "grpc.use_local_subchannel_pool": 1,
};

interface Lane {
  readonly channel: Channel;
  inFlight: number;
}

export class Channels {
  /** By address; the latest used last. */
  readonly #lanes = new Map<string, Lane>();
  #closed = false;

  /** Throws InsecureTarget. */
  constructor(
    readonly target: string,
    readonly options: ConnectOptions,
  ) {
    credentialsFor(target, options);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** A new connection, which its caller closes. Throws InsecureTarget. */
  dial(endpoint: string): Channel {
    const address = endpoint || this.target;
    const { channelOptions, interceptors } = this.options;
    return new Channel(address, credentialsFor(address, this.options), {
      ...OPTIONS,
      ...channelOptions,
      ...(interceptors === undefined ? {} : { interceptors }),
    });
  }

  /** Runs one call over the connection to HOST:PORT, empty for the client's own target. Throws ClientClosed. */
  async use<T>(endpoint: string, call: (channel: Channel) => Promise<T>): Promise<T> {
    const lane = this.#take(endpoint || this.target);
    lane.inFlight += 1;
    try {
      return await call(lane.channel);
    } finally {
      lane.inFlight -= 1;
    }
  }

  /** The headers of a call: the token, and what `inject` adds. */
  async headers(waitForReady: boolean): Promise<Metadata> {
    const metadata = new Metadata({ waitForReady });
    const headers: Record<string, string> = {};
    this.options.inject?.(headers);
    for (const [name, value] of Object.entries(headers)) {
      metadata.set(name, value);
    }
    if (this.options.token !== undefined) {
      metadata.set("authorization", `Bearer ${await this.options.token()}`);
    }
    return metadata;
  }

  close(): void {
    this.#closed = true;
    for (const lane of this.#lanes.values()) {
      lane.channel.close();
    }
    this.#lanes.clear();
  }

  #take(address: string): Lane {
    if (this.#closed) {
      throw new ClientClosed();
    }
    let lane = this.#lanes.get(address);
    if (lane === undefined) {
      lane = { channel: this.dial(address), inFlight: 0 };
      this.#makeRoom();
    }
    this.#lanes.delete(address);
    this.#lanes.set(address, lane);
    return lane;
  }

  #makeRoom(): void {
    if (this.#lanes.size < MAX_CHANNELS) {
      return;
    }
    for (const [address, lane] of this.#lanes) {
      if (lane.inFlight === 0) {
        this.#lanes.delete(address);
        lane.channel.close();
        return;
      }
    }
  }
}
