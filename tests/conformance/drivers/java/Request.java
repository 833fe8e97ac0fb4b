import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import io.noisegate.v1.Pattern;
import io.noisegate.v1.Protocol;
import io.noisegate.v1.RecordMode;
import io.noisegate.v1.Suite;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** One line for the driver; a field that it does not have is empty. */
record Request(JsonObject fields) {

  boolean has(String name) {
    return fields.has(name) && !fields.get(name).isJsonNull();
  }

  String text(String name) {
    return has(name) ? fields.get(name).getAsString() : "";
  }

  boolean flag(String name) {
    return has(name) && fields.get(name).getAsBoolean();
  }

  int number(String name, int otherwise) {
    return has(name) ? fields.get(name).getAsInt() : otherwise;
  }

  byte[] bytes(String name) {
    return HexFormat.of().parseHex(text(name));
  }

  ByteString string(String name) {
    return ByteString.copyFrom(bytes(name));
  }

  List<String> texts(String name) {
    List<String> texts = new ArrayList<>();
    fields.getAsJsonArray(name).forEach(text -> texts.add(text.getAsString()));
    return texts;
  }

  List<Request> items() {
    List<Request> items = new ArrayList<>();
    for (JsonElement item : fields.getAsJsonArray("items")) {
      items.add(new Request(item.getAsJsonObject()));
    }
    return items;
  }

  RecordMode mode() {
    return has("mode")
        ? RecordMode.valueOf("RECORD_MODE_" + text("mode"))
        : RecordMode.RECORD_MODE_UNSPECIFIED;
  }

  /** What it names; nothing where the hello says it. */
  Protocol protocol() {
    return has("pattern")
        ? Protocol.newBuilder()
            .setPattern(Pattern.valueOf("PATTERN_" + text("pattern")))
            .setSuite(Suite.valueOf("SUITE_" + text("suite")))
            .build()
        : null;
  }
}
