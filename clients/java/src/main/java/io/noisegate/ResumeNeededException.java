package io.noisegate;

import io.grpc.Status;

/**
 * The session is lost: unknown, expired or ended. The player holds the ticket: have it resume, or
 * shake hands anew.
 */
public final class ResumeNeededException extends NoisegateException {
  private static final long serialVersionUID = 1;

  ResumeNeededException(Status.Code code, String message, Details details) {
    super(code, message, details);
  }
}
