package io.noisegate;

/** Secrets would leave this machine in plaintext. Nothing was sent. */
public final class InsecureTargetException extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  private final String target;

  InsecureTargetException(String target) {
    super(target + " is no loopback address: give tls, or insecure in a network that you trust");
    this.target = target;
  }

  /** Where they would have gone. */
  public String target() {
    return target;
  }
}
