package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import org.junit.jupiter.api.Test;

class PlayerPathTest {
  private static Opened.Position position(long counter, boolean newest) {
    return new Opened.Position(counter, 0, false, newest, false);
  }

  @Test
  void anAddressThatProvedNothingGetsThreeTimesWhatCame() {
    PlayerPath<String> path = new PlayerPath<>("here", 100, true);
    assertTrue(path.maySend(300));
    assertFalse(path.maySend(1));
    path.cameFrom("elsewhere", 100);
    assertFalse(path.maySend(1), "bytes of another address pay for nothing");
    path.cameFrom("here", 1);
    assertTrue(path.maySend(3));
    path.finished("here");
    assertTrue(path.maySend(1 << 20), "a handshake proves its address");
  }

  @Test
  void aPlayerIsFollowedByItsNewestRecordAloneAndBelievedAgainAtHome() {
    PlayerPath<String> path = new PlayerPath<>("home", 100, true);
    path.finished("home");
    assertFalse(path.opened("away", 50, position(9, false)));
    assertTrue(path.opened("away", 50, position(5, true)));
    assertEquals("away", path.address);
    assertFalse(path.verified);
    assertFalse(path.maySend(151));
    assertFalse(path.opened("home", 50, position(4, true)), "an answer that comes late");
    assertTrue(path.opened("home", 50, position(6, true)));
    assertTrue(path.verified, "the last address that proved itself is believed at once");
  }

  @Test
  void countersAndEpochsAreUnsigned() {
    PlayerPath<String> path = new PlayerPath<>("home", 100, true);
    assertTrue(path.opened("a", 50, position(Long.MAX_VALUE, true)));
    assertTrue(path.opened("b", 50, position(Long.MIN_VALUE, true)));
    assertTrue(path.opened("c", 50, new Opened.Position(0, -1, false, true, false)));
    assertFalse(path.opened("d", 50, new Opened.Position(0, 1, false, true, false)));
  }

  @Test
  void onlyTheAnswerToOurQuestionFromThereProvesAnAddress() {
    ByteString question = ByteString.copyFromUtf8("question");
    PlayerPath<String> path = new PlayerPath<>("here", 10, false);
    path.finished("here");
    path.answered("here", ByteString.EMPTY);
    path.ask(question);
    path.answered("here", ByteString.copyFromUtf8("answers!"));
    path.answered("there", question);
    assertFalse(path.verified);
    path.answered("here", question);
    assertTrue(path.verified);
  }
}
