package io.noisegate;

/** A fragment that is none, or that no set can take. */
public final class BadFragmentException extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  BadFragmentException() {
    super("bad fragment");
  }
}
