package io.noisegate;

import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;

/**
 * Collects the calls for one endpoint into batches, over one stream at a time. While a stream that
 * drains is read to its end, another one takes what is new.
 *
 * <p>What a call's end sets off is the game's, and runs on another thread than one that holds this
 * line.
 */
final class Line {
  private final Policy policy;
  private final Multiplex options;
  private final Background background;
  private final Function<Line, Link> open;

  /** Of each kind the one that may still grow. */
  private final Map<Bundle.Kind, Bundle> filling = new EnumMap<>(Bundle.Kind.class);

  /** Due, the oldest first. */
  private List<Bundle> ready = new ArrayList<>();

  private final Set<Link> links = new HashSet<>();

  /** Takes what is new. */
  private Link link;

  /** Bundles that wait to go again. */
  private final Set<Bundle> waits = new HashSet<>();

  private boolean ticking;
  private boolean pausing;
  private int failures;
  private boolean closed;

  Line(Policy policy, Multiplex options, Background background, Function<Line, Link> open) {
    this.policy = policy;
    this.options = options;
    this.background = background;
    this.open = open;
  }

  /** Lets a call go with the next batch of its kind; false where the line is closed. */
  synchronized boolean add(Bundle.Kind kind, Bundle.Waiting call) {
    if (closed) {
      return false;
    }
    Bundle bundle = filling.get(kind);
    if (bundle != null && bundle.size + call.piece.size() > options.maxBytes()) {
      due(bundle);
      bundle = null;
    }
    if (bundle == null) {
      bundle = new Bundle(kind);
      filling.put(kind, bundle);
    }
    bundle.add(call);
    if (bundle.calls.size() >= options.maxItems() || bundle.size >= options.maxBytes()) {
      due(bundle);
      filling.remove(kind);
      wake();
    } else if (!bundle.due && !ticking) {
      ticking = true;
      background.after(options.tick(), this::tick);
    }
    return true;
  }

  /** Lets a batch go that is complete already and waits for no tick; false likewise. */
  synchronized boolean carry(Bundle bundle) {
    if (closed) {
      return false;
    }
    ready.add(bundle);
    wake();
    return true;
  }

  /** What has been collected goes now, and grows on until a link takes it. */
  private synchronized void tick() {
    ticking = false;
    filling.values().forEach(this::due);
    wake();
  }

  private void due(Bundle bundle) {
    if (!bundle.due) {
      bundle.due = true;
      ready.add(bundle);
    }
  }

  /** Lets the link look, and opens one where there is none. */
  private void wake() {
    if (closed || pausing || ready.isEmpty()) {
      return;
    }
    if (link == null) {
      link = open.apply(this);
      links.add(link);
    }
    link.wake();
  }

  /** Gives a link the oldest batch that is due and that somebody still waits for; null for none. */
  synchronized Bundle take(Link taker) {
    while (taker == link && !ready.isEmpty()) {
      Bundle oldest = ready.remove(0);
      filling.remove(oldest.kind, oldest);
      if (oldest.isWanted()) {
        return oldest;
      }
    }
    return null;
  }

  /** The service is well. */
  synchronized void answered() {
    failures = 0;
  }

  /**
   * The service did nothing for this batch; where that may change, the batch goes again after a
   * while.
   */
  synchronized void refused(Bundle bundle, NoisegateException why) {
    Duration delay = delay(bundle.attempts, why);
    if (goesAgain(bundle, why)) {
      waits.add(bundle);
      background.after(delay, () -> again(bundle));
    }
  }

  private synchronized void again(Bundle bundle) {
    if (waits.remove(bundle)) {
      ready.add(bundle);
      wake();
    }
  }

  /** What is new goes over another connection. */
  synchronized void draining(Link which) {
    link = which == link ? null : link;
    wake();
  }

  /**
   * Batches without an answer go again, in their order and before newer ones; after a while, if the
   * stream failed.
   */
  synchronized void ended(Link which, List<Bundle> unanswered, NoisegateException why) {
    links.remove(which);
    link = which == link ? null : link;
    if (closed) {
      unanswered.forEach(bundle -> fail(bundle, new ClientClosedException()));
      return;
    }
    List<Bundle> again = new ArrayList<>();
    for (Bundle bundle : unanswered) {
      if (goesAgain(bundle, why)) {
        again.add(bundle);
      }
    }
    again.addAll(ready);
    ready = again;
    if (why.code() != Status.Code.UNAVAILABLE) {
      failAll(why);
    }
    ready.forEach(bundle -> bundle.calls.forEach(call -> call.refused = why));
    if (link != null) {
      link.wake();
    } else if (!ready.isEmpty() && !pausing) {
      pausing = true;
      background.after(delay(failures, why), this::resume);
      failures += 1;
    }
  }

  private synchronized void resume() {
    pausing = false;
    wake();
  }

  private Duration delay(int repeat, NoisegateException why) {
    return policy.delay(repeat, ThreadLocalRandom.current().nextDouble(), why.retryDelay());
  }

  private boolean goesAgain(Bundle bundle, NoisegateException why) {
    bundle.inVain(why);
    bundle.attempts += policy.counts(why.reason()) ? 1 : 0;
    if (why.code() != Status.Code.UNAVAILABLE || bundle.attempts >= policy.attempts()) {
      fail(bundle, why);
      return false;
    }
    return bundle.isWanted();
  }

  private void fail(Bundle bundle, RuntimeException why) {
    background.execute(() -> bundle.fail(why));
  }

  private void failAll(RuntimeException why) {
    // One that is due may be among those that fill, too; its calls end once all the same.
    filling.values().forEach(bundle -> fail(bundle, why));
    filling.clear();
    ready.forEach(bundle -> fail(bundle, why));
    ready.clear();
  }

  /** Closes the line if nobody waits for it; whether it did. */
  synchronized boolean retire() {
    boolean busy = ticking || !ready.isEmpty() || !waits.isEmpty();
    for (Iterator<Link> each = links.iterator(); !busy && each.hasNext(); ) {
      busy = each.next().isBusy();
    }
    if (!busy) {
      close();
    }
    return !busy;
  }

  /** Ends every stream; calls that wait end with ClientClosedException. */
  synchronized void close() {
    closed = true;
    failAll(new ClientClosedException());
    waits.forEach(bundle -> fail(bundle, new ClientClosedException()));
    waits.clear();
    links.forEach(Link::cancel);
  }
}
