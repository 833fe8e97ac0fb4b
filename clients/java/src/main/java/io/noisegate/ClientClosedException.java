package io.noisegate;

/** The client was closed before or during the call. */
public final class ClientClosedException extends IllegalStateException {
  private static final long serialVersionUID = 1;

  ClientClosedException() {
    super("the client is closed");
  }
}
