import { randomFillSync } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { type Check, group } from '../check.js';
import { demandSaid } from '../operations.js';
import type { Probe } from '../probe.js';
import type { Wire } from '../target.js';
import { demand } from '../violation.js';

/** Four times what 250 operations with the longest names and the most peers take. */
const OVERSIZED = 16 * 1024 * 1024;

async function answersOver(probe: Probe, wire: Wire): Promise<void> {
  const connection = probe.connect(wire);
  const operation = probe.creation(1);
  const { nodeId, ledgerId } = await connection.node.getNodeInfo({});
  demand(nodeId === probe.ref.nodeId && ledgerId === probe.ref.ledgerId, 'the same node', nodeId);
  const answer = await connection.operations.submit({ node: probe.ref, operations: [operation] });
  demandSaid(answer.statuses[0]!, 'PROCESSING', 'SUCCESS');
  demandSaid(await probe.ended(operation), 'SUCCESS');
}

/** Sends bytes, sees that they are refused, and that the node goes on as before. */
async function demandJunkRefused(
  probe: Probe,
  contentType: string,
  body: Uint8Array,
  method = 'Submit',
): Promise<void> {
  const { answer, evidence } = await probe.post(method, { contentType, body });
  const { status, headers } = answer;
  const grpcStatus = headers['grpc-status'];
  const isRefused = status !== 200 || (grpcStatus !== undefined && grpcStatus !== '0');
  demand(isRefused, 'the call to be refused', `HTTP ${status} ${answer.body.slice(0, 200)}`, evidence);
  await probe.info.getNodeInfo({});
  await probe.demandPresent();
}

function junk(bytes: number): Uint8Array {
  // Field 15 of a wire type that does not exist, then noise: no protocol buffer, and no JSON.
  return Buffer.concat([Buffer.from([0x7f]), randomFillSync(Buffer.alloc(bytes - 1))]);
}

/** Connect with protobuf and with JSON, and gRPC, on one port; bytes that are none of these. */
export const WIRE: readonly Check[] = group('wire', ['regions'], {
  connect: {
    rule: 'the contract is answered over Connect with protobuf',
    run: (probe) => answersOver(probe, 'connect'),
  },
  json: {
    rule: 'the contract is answered over Connect with JSON, on the same port',
    run: (probe) => answersOver(probe, 'connect-json'),
  },
  grpc: {
    rule: 'the contract is answered over gRPC, on the same port',
    run: (probe) => answersOver(probe, 'grpc'),
  },
  'junk-protobuf': {
    rule: 'I10: bytes that are no protocol buffer are refused and change nothing',
    async run(probe) {
      for (const method of ['Submit', 'Get', 'Cancel']) {
        await demandJunkRefused(probe, 'application/proto', junk(1_000), method);
      }
    },
  },
  'junk-json': {
    rule: 'I10: text that is no JSON, or JSON of another message, is refused and changes nothing',
    async run(probe) {
      for (const text of ['', '{', '[]', '{"operations": 7}', '{"node": "me"}', '{"surprise": true}']) {
        await demandJunkRefused(probe, 'application/json', Buffer.from(text));
      }
    },
  },
  'junk-grpc': {
    rule: 'I10: bytes that are no gRPC frame are refused and change nothing',
    async run(probe) {
      await demandJunkRefused(probe, 'application/grpc', junk(1_000));
      const lying = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
      await demandJunkRefused(probe, 'application/grpc', lying);
    },
  },
  'empty-body': {
    rule: 'I10: an empty message names no node: FAILED_PRECONDITION',
    async run(probe) {
      await demandJunkRefused(probe, 'application/proto', new Uint8Array());
      await probe.demandRefused(probe.operations.submit({}), Code.FailedPrecondition);
      await probe.demandRefused(probe.operations.get({}), Code.FailedPrecondition);
      await probe.demandRefused(probe.operations.cancel({}), Code.FailedPrecondition);
    },
  },
  'another-content-type': {
    rule: 'I10: a content type that the contract does not know is refused and changes nothing',
    run: (probe) => demandJunkRefused(probe, 'text/plain', Buffer.from('hello')),
  },
  'another-method': {
    rule: 'I10: an RPC that does not exist is refused and changes nothing',
    run: (probe) => demandJunkRefused(probe, 'application/json', Buffer.from('{}'), 'Explode'),
  },
  'oversized-body': {
    rule: 'I10: a body of 16 MiB is refused and changes nothing; the node serves on',
    run: (probe) => demandJunkRefused(probe, 'application/proto', Buffer.alloc(OVERSIZED, 0x7f)),
  },
  'oversized-field': {
    rule: 'I10: an operation with a name of 1 MiB is refused, by itself or with its call, and changes nothing',
    async run(probe) {
      const huge = { ...probe.creation(1), operationId: 'x'.repeat(1024 * 1024) };
      const answer = await probe.submit(huge).catch(() => undefined);
      if (answer !== undefined) demandSaid(answer[0]!, 'REFUSED(INVALID_ARGUMENT)');
      await probe.demandPresent();
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
    },
  },
});
