import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Payload } from '@temporalio/common';

/** A payload as the bytes of `temporal.api.common.v1.Payload`: what tools of other languages read and write as well. */

const METADATA = 1;
const DATA = 2;
const KEY = 1;
const VALUE = 2;
const BYTES = WireType.LengthDelimited;

export function bytesOf({ metadata, data }: Payload): Uint8Array {
  const writer = new BinaryWriter();
  for (const [key, value] of Object.entries(metadata ?? {})) {
    writer.tag(METADATA, BYTES).fork();
    writer.tag(KEY, BYTES).string(key).tag(VALUE, BYTES).bytes(value).join();
  }
  if (data) writer.tag(DATA, BYTES).bytes(data);
  return writer.finish();
}

/** Skips what it does not know. Throws when these are no such bytes. */
export function payloadOf(bytes: Uint8Array): Payload {
  const metadata: [key: string, value: Uint8Array][] = [];
  let data: Uint8Array | undefined;
  eachField(new BinaryReader(bytes), (field, reader) => {
    if (field === DATA) data = reader.bytes();
    else if (field === METADATA) {
      let key = '';
      let value: Uint8Array = new Uint8Array();
      eachField(new BinaryReader(reader.bytes()), (part, entry) => {
        if (part === KEY) key = entry.string();
        else if (part === VALUE) value = entry.bytes();
        else return false;
        return true;
      });
      metadata.push([key, value]);
    } else return false;
    return true;
  });
  // Not by assignment: `__proto__` is a key like any other.
  return { metadata: Object.fromEntries(metadata), ...(data && { data }) };
}

/** @param take reads the field, and answers whether it did */
function eachField(reader: BinaryReader, take: (field: number, reader: BinaryReader) => boolean): void {
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!take(field, reader)) reader.skip(type);
  }
}
