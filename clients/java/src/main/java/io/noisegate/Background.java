package io.noisegate;

import java.time.Duration;
import java.util.concurrent.Executor;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * What a client runs on: threads that end by themselves when there is nothing to do, and a timer.
 */
final class Background implements Executor {
  private final ThreadPoolExecutor threads;
  private final ScheduledThreadPoolExecutor timer;

  Background() {
    ThreadFactory daemons =
        runnable -> {
          Thread thread = new Thread(runnable, "noisegate");
          thread.setDaemon(true);
          return thread;
        };
    // What is handed over may block, e.g. a game's continuation of a call.
    threads =
        new ThreadPoolExecutor(
            0, Integer.MAX_VALUE, 10, TimeUnit.SECONDS, new SynchronousQueue<>(), daemons);
    timer = new ScheduledThreadPoolExecutor(1, daemons);
    timer.setRemoveOnCancelPolicy(true);
    timer.setKeepAliveTime(10, TimeUnit.SECONDS);
    timer.allowCoreThreadTimeOut(true);
  }

  @Override
  public void execute(Runnable task) {
    threads.execute(task);
  }

  /** Its tasks must not block. */
  ScheduledThreadPoolExecutor timer() {
    return timer;
  }

  ScheduledFuture<?> after(Duration delay, Runnable task) {
    return timer.schedule(() -> execute(task), delay.toNanos(), TimeUnit.NANOSECONDS);
  }
}
