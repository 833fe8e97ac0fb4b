package io.noisegate;

import com.google.protobuf.ByteString;
import io.noisegate.v1.SessionOptions;

/**
 * How the game receives a player who begins a session. A resumed session has its ticket's names and
 * options.
 *
 * @param peerId names the player: at most 64 bytes
 * @param group the match, room or table: at most 64 bytes
 * @param prologue the same at both ends: at most 1,024 bytes
 * @param payload of message 2: at most 16,384 bytes, in practice a third of what the player sent
 * @param psk for psk patterns: 32 bytes. Secret
 * @param options for this session
 * @param acceptEarlyData takes the early data of a player who resumes, where it can come for the
 *     first time alone
 */
public record Admission(
    String peerId,
    String group,
    ByteString prologue,
    ByteString payload,
    ByteString psk,
    SessionOptions options,
    boolean acceptEarlyData) {

  /** A player who may come, unnamed. */
  public static final Admission ANYONE = of("", "");

  /** A player with a name, in a group. */
  public static Admission of(String peerId, String group) {
    ByteString none = ByteString.EMPTY;
    SessionOptions options = SessionOptions.getDefaultInstance();
    return new Admission(peerId, group, none, none, none, options, false);
  }

  /** The same with another prologue. */
  public Admission withPrologue(byte[] bytes) {
    ByteString other = ByteString.copyFrom(bytes);
    return new Admission(peerId, group, other, payload, psk, options, acceptEarlyData);
  }

  /** The same with a pre-shared key. */
  public Admission withPsk(byte[] key) {
    ByteString other = ByteString.copyFrom(key);
    return new Admission(peerId, group, prologue, payload, other, options, acceptEarlyData);
  }

  /** Never shows the key. */
  @Override
  public String toString() {
    return "noisegate admission";
  }
}
