package io.noisegate.testing;

import io.noisegate.Client;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A {@link DevService} for the tests of one class:
 *
 * <pre>{@code
 * @RegisterExtension static final NoisegateExtension noisegate = new NoisegateExtension();
 * }</pre>
 */
public final class NoisegateExtension implements BeforeAllCallback, AfterAllCallback {
  private final String[] arguments;
  private DevService service;

  /** More arguments of {@code noisegate serve} may follow. */
  public NoisegateExtension(String... arguments) {
    this.arguments = arguments.clone();
  }

  /** HOST:PORT of the service. */
  public String target() {
    return service.target();
  }

  /** A client of the service whose deadlines suit a test: 10 s. */
  public Client connect() {
    return service.connect();
  }

  @Override
  public void beforeAll(ExtensionContext context) {
    service = DevService.start(arguments);
  }

  @Override
  public void afterAll(ExtensionContext context) {
    service.close();
  }
}
