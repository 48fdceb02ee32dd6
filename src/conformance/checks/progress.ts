import { OperationState, type OperationStatus } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group } from '../check.js';
import { type Asked, demandSaid } from '../operations.js';
import type { Probe } from '../probe.js';
import { demand } from '../violation.js';

/** Looks at the operations until they are over, and a few times more; progress must not step back in between. */
async function demandOnward(probe: Probe, operations: readonly Asked[]): Promise<void> {
  const seen = new Map<string, { done: bigint; total: bigint }>();
  const look = (statuses: readonly OperationStatus[]): boolean => {
    let areOver = true;
    for (const status of statuses) {
      const { operationId, state, progress } = status;
      demand(progress !== undefined, 'progress in a status that is known', 'none', status);
      const { done, total } = progress;
      demand(total === 0n || done <= total, `at most ${total} done`, String(done), status);
      const before = seen.get(operationId);
      demand(
        before === undefined || (done >= before.done && total >= before.total),
        `at least ${before?.done} of ${before?.total}, as it was before`,
        `${done} of ${total}`,
        status,
      );
      seen.set(operationId, { done, total });
      if (state === OperationState.PROCESSING) areOver = false;
    }
    return areOver;
  };
  look(await probe.submit(...operations));
  await probe.eventually('all operations to end', async () =>
    look(await probe.get(...operations)) ? { is: true } : { not: 'some are PROCESSING' },
  );
  for (let again = 0; again < 5; again += 1) look(await probe.get(...operations));
}

/** How far an operation is. */
export const PROGRESS = group('progress', ['regions'], {
  'of-creations': {
    rule: 'the progress of a creation never steps back, and is at most its total',
    async run(probe) {
      await demandOnward(
        probe,
        Array.from({ length: 8 }, (_, i) => probe.creation(i + 1)),
      );
    },
  },
  'of-deletions': {
    rule: 'the progress of a deletion never steps back, and is at most its total',
    async run(probe) {
      const groups = Array.from({ length: 8 }, (_, i) => i + 1);
      await probe.createAll(...groups.map((groupId) => probe.creation(groupId)));
      await demandOnward(
        probe,
        groups.map((groupId) => probe.deletion(groupId)),
      );
    },
  },
  'of-what-is-held-up': {
    rule: 'the progress of an operation that takes its time never steps back, also not at its end',
    needs: ['faults'],
    async run(probe) {
      await probe.createAll(probe.creation(1));
      const deletion = probe.deletion(1);
      await probe.hold(deletion, 200);
      await demandOnward(probe, [deletion]);
      demandSaid(await probe.ended(deletion), 'SUCCESS');
    },
  },
});
