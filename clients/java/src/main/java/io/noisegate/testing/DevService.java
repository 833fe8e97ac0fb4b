package io.noisegate.testing;

import io.noisegate.Client;
import io.noisegate.Policy;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A real service for a test: {@code noisegate serve --dev} on a free port of this machine, until it
 * is closed. Keys are made at the start and lost at the end.
 *
 * <p>The command is noisegate on the PATH (pip install noisegate-server), or what NOISEGATE_COMMAND
 * names.
 */
public final class DevService implements AutoCloseable {
  private static final String READY = "noisegate listening on ";
  private static final Duration PATIENCE = Duration.ofSeconds(10);
  private static final long START_WITHIN_SECONDS = 20;
  private static final long STOP_WITHIN_SECONDS = 10;

  private final Process process;
  private final Path log;
  private final String target;

  private DevService(Process process, Path log) {
    this.process = process;
    this.log = log;
    String line = firstLine();
    if (!line.startsWith(READY)) {
      String said = log();
      close();
      throw new IllegalStateException("the service said \"" + line + "\"; its log:\n" + said);
    }
    target = line.substring(READY.length());
  }

  /**
   * Starts one and waits until it listens; more arguments of {@code noisegate serve} may follow.
   * Throws IllegalStateException with its log where it does not come up.
   */
  public static DevService start(String... arguments) {
    String named = System.getenv("NOISEGATE_COMMAND");
    List<String> command = new ArrayList<>();
    command.add(named == null || named.isEmpty() ? "noisegate" : named);
    command.addAll(List.of("serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0"));
    command.addAll(List.of(arguments));
    try {
      Path log = Files.createTempFile("noisegate", ".log");
      Process process = new ProcessBuilder(command).redirectError(log.toFile()).start();
      return new DevService(process, log);
    } catch (IOException error) {
      throw new IllegalStateException(
          "pip install noisegate-server, or set NOISEGATE_COMMAND", error);
    }
  }

  /** HOST:PORT. */
  public String target() {
    return target;
  }

  /**
   * A client of it whose deadlines suit a test: 10 s, because the first call of a JVM has to load
   * what it runs on, and a machine that runs tests may be loaded.
   */
  public Client connect() {
    Policy patient = Policy.DEFAULT.withPacketDeadline(PATIENCE).withControlDeadline(PATIENCE);
    return Client.to(target).policy(patient).connect();
  }

  /** Stops it and waits for its end. */
  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(STOP_WITHIN_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
      Files.deleteIfExists(log);
    } catch (InterruptedException error) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private String firstLine() {
    BufferedReader output = process.inputReader();
    CompletableFuture<String> said =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return String.valueOf(output.readLine());
              } catch (IOException error) {
                return String.valueOf(error.getMessage());
              }
            });
    try {
      return said.get(START_WITHIN_SECONDS, TimeUnit.SECONDS);
    } catch (TimeoutException | ExecutionException error) {
      return "nothing in time";
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      return "nothing in time";
    }
  }

  private String log() {
    try {
      return Files.readString(log);
    } catch (IOException error) {
      return error.toString();
    }
  }
}
