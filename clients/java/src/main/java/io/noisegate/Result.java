package io.noisegate;

/** What became of one item of a batch. */
public sealed interface Result<T> {

  /** The result. Throws what its own call would have ended with. */
  T get();

  /** It was done. */
  record Done<T>(T value) implements Result<T> {
    @Override
    public T get() {
      return value;
    }
  }

  /** It was not; other items are as they are. */
  record Failed<T>(RuntimeException error) implements Result<T> {
    @Override
    public T get() {
      throw error;
    }
  }
}
