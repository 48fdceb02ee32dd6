import type { Payload } from '@temporalio/common';
import { z } from 'zod';

/** Payloads as Temporal's Web UI and command send them: the JSON form of `temporal.api.common.v1.Payloads`. */

const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
const schema = z.object({
  payloads: z.array(z.object({ metadata: z.record(z.string(), bytes).default({}), data: bytes.optional() })),
});

/** Undefined when it is not that. */
export function readPayloads(text: string): Payload[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) return undefined;
  return parsed.data.payloads.map(({ metadata, data }) => ({ metadata, ...(data && { data }) }));
}

export function payloadsJson(payloads: readonly Payload[]) {
  const base64 = (value: Uint8Array) => Buffer.from(value).toString('base64');
  return {
    payloads: payloads.map(({ metadata, data }) => ({
      metadata: Object.fromEntries(
        Object.entries(metadata ?? {}).map(([key, value]) => [key, base64(value)]),
      ),
      ...(data && { data: base64(data) }),
    })),
  };
}
