package io.noisegate;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.protobuf.Descriptors.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.noisegate.Methods.Method;
import io.noisegate.v1.ErrorReason;
import io.noisegate.v1.SessionCryptoServiceProto;
import java.lang.reflect.Field;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The tables that are written by hand have what the contract has. */
class MethodsTest {
  private static final String REASON = "ERROR_REASON_";

  private record Row(String request, String response, MethodType type) {}

  private static Row row(MethodDescriptor method) {
    MethodType one = method.isServerStreaming() ? MethodType.SERVER_STREAMING : MethodType.UNARY;
    MethodType type = method.isClientStreaming() ? MethodType.BIDI_STREAMING : one;
    return new Row(method.getInputType().getFullName(), method.getOutputType().getFullName(), type);
  }

  private static Row row(io.grpc.MethodDescriptor<?, ?> method) {
    return new Row(
        messageOf(method.getRequestMarshaller()),
        messageOf(method.getResponseMarshaller()),
        method.getType());
  }

  private static String messageOf(io.grpc.MethodDescriptor.Marshaller<?> marshaller) {
    var prototyped = (io.grpc.MethodDescriptor.PrototypeMarshaller<?>) marshaller;
    var message = (com.google.protobuf.Message) prototyped.getMessagePrototype();
    return message.getDescriptorForType().getFullName();
  }

  @Test
  void everyMethodOfTheContractIsARow() throws IllegalAccessException {
    Map<String, Row> wanted = new TreeMap<>();
    var service =
        SessionCryptoServiceProto.getDescriptor().findServiceByName("SessionCryptoService");
    service.getMethods().forEach(method -> wanted.put(method.getName(), row(method)));
    Map<String, Row> found = new TreeMap<>();
    for (Field field : Methods.class.getDeclaredFields()) {
      if (field.getType() == Method.class) {
        var descriptor = ((Method<?, ?>) field.get(null)).descriptor();
        found.put(descriptor.getBareMethodName(), row(descriptor));
      } else if (field.getType() == io.grpc.MethodDescriptor.class) {
        var descriptor = (io.grpc.MethodDescriptor<?, ?>) field.get(null);
        found.put(descriptor.getBareMethodName(), row(descriptor));
      }
    }
    assertEquals(wanted, found);
    assertEquals(service.getFullName(), Methods.SERVICE);
  }

  @Test
  void everyReasonOfTheContractIsAConstant() throws ReflectiveOperationException {
    for (ErrorReason reason : ErrorReason.values()) {
      if (reason != ErrorReason.UNRECOGNIZED && reason.getNumber() != 0) {
        String name = reason.name().substring(REASON.length());
        assertEquals(name, Reason.class.getField(name).get(null));
        assertEquals(name, Reason.of(reason));
      }
    }
    assertEquals("", Reason.of(ErrorReason.UNRECOGNIZED));
  }

  @Test
  void backoffDoublesUpToItsMost() {
    long[] most = {25, 50, 100, 200, 400, 500, 500};
    long[] least = Arrays.stream(most).map(each -> each * 500).toArray();
    for (int repeat = 0; repeat < most.length; repeat++) {
      Duration none = Duration.ZERO;
      Duration second = Duration.ofSeconds(1);
      assertEquals(least[repeat], Policy.DEFAULT.delay(repeat, 0, none).toNanos() / 1_000);
      assertEquals(second.plusMillis(most[repeat]), Policy.DEFAULT.delay(repeat, 1, second));
    }
  }
}
