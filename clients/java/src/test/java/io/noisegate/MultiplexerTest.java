package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import org.junit.jupiter.api.Test;

class MultiplexerTest {
  @Test
  void whoMeetsALineThatRetiresGetsAnother() {
    var client = Client.to("127.0.0.1:1").multiplex(Multiplex.DEFAULT).connect();
    var call = new Bundle.Waiting(new Piece(ByteString.EMPTY, new byte[0], new byte[0]));
    var met = new ArrayList<Line>();
    client.multiplexer.hand(
        "",
        line -> {
          met.add(line);
          if (met.size() == 1) {
            client.multiplexer.retire();
          }
          return line.add(Bundle.Kind.SEAL, call);
        });
    assertEquals(2, met.size());
    assertNotSame(met.get(0), met.get(1));
    client.close();
    assertThrows(
        ClientClosedException.class, () -> client.multiplexer.hand("", line -> met.add(line)));
  }
}
