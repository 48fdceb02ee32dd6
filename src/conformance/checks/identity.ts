import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { group } from '../check.js';
import type { Probe } from '../probe.js';
import { demand, demandSame } from '../violation.js';

const NODE_ID = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Every call that names a node, with a submission that must not come through. */
async function demandAllRefused(
  probe: Probe,
  node: { readonly nodeId: string; readonly ledgerId: string } | undefined,
): Promise<void> {
  const ref = node === undefined ? {} : { node };
  const operation = probe.creation(1);
  const operationIds = [operation.operationId];
  await probe.demandRefused(
    probe.operations.submit({ ...ref, operations: [operation] }),
    Code.FailedPrecondition,
  );
  await probe.demandRefused(probe.operations.get({ ...ref, operationIds }), Code.FailedPrecondition);
  await probe.demandRefused(probe.operations.cancel({ ...ref, operationIds }), Code.FailedPrecondition);
  await probe.demandRefused(probe.inventory.listRegions(ref), Code.FailedPrecondition);
  await probe.demandRefused(probe.inventory.listEpochs(ref), Code.FailedPrecondition);
  await probe.demandPresent();
}

/** Who answers, and for whom. */
export const IDENTITY = group('identity', [], {
  'is-told': {
    rule: 'GetNodeInfo answers node id, ledger id and capabilities, the same each time',
    async run(probe) {
      const [first, second] = [await probe.info.getNodeInfo({}), await probe.info.getNodeInfo({})];
      const { nodeId, ledgerId, capabilities } = first;
      demand(
        NODE_ID.test(nodeId),
        'a node id of 1 to 63 lower-case letters, digits or . _ -',
        JSON.stringify(nodeId),
        first,
      );
      demand(UUID.test(ledgerId), 'a ledger id that is a UUID', JSON.stringify(ledgerId), first);
      demand(capabilities.length > 0, 'at least one capability, such as "regions"', 'none', first);
      demandSame(
        [second.nodeId, second.ledgerId, second.capabilities],
        [nodeId, ledgerId, capabilities],
        'the same answer again',
        second,
      );
    },
  },
  'another-node-is-refused': {
    rule: 'I1: a call that names another node id is FAILED_PRECONDITION and does nothing',
    needs: ['regions'],
    run: (probe) => demandAllRefused(probe, { ...probe.ref, nodeId: `${probe.ref.nodeId.slice(0, 60)}-x` }),
  },
  'another-ledger-is-refused': {
    rule: 'I1: a call that names another ledger id is FAILED_PRECONDITION and does nothing',
    needs: ['regions'],
    run: (probe) => demandAllRefused(probe, { ...probe.ref, ledgerId: randomUUID() }),
  },
  'nobody-is-refused': {
    rule: 'I10: a call that names no node, or half of one, is FAILED_PRECONDITION and does nothing',
    needs: ['regions'],
    async run(probe) {
      await demandAllRefused(probe, undefined);
      await demandAllRefused(probe, { ...probe.ref, ledgerId: '' });
      await demandAllRefused(probe, { ...probe.ref, nodeId: '' });
    },
  },
});
