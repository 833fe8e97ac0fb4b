/** Messages as grpc-js takes them: bytes, which its own serialisers pass on as they are. */

import { create, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";

/** `/package.Service/Method` of a method. */
export function pathOf(method: { name: string; parent: { typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** A message's bytes, not copied. */
export function encoded<M extends DescMessage>(schema: M, message: MessageInitShape<M>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function asIs(bytes: Buffer): Buffer {
  return bytes;
}
