package io.noisegate;

/** Bytes that go to an address. */
public record Datagram<A>(byte[] bytes, A address) {}
