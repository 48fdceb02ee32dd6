import { OperationState, type OperationStatus } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group } from '../check.js';
import {
  type Asked,
  demandSaid,
  demandSameStatus,
  groupOf,
  isOrdered,
  say,
  timeText,
} from '../operations.js';
import type { Probe } from '../probe.js';
import { demand } from '../violation.js';

function demandStale(status: OperationStatus, highestEpoch: number): void {
  demandSaid(status, 'REFUSED(STALE_EPOCH)');
  const told = status.refusal?.highestEpoch;
  demand(told === BigInt(highestEpoch), `highest_epoch ${highestEpoch} in the refusal`, String(told), status);
}

/** Waits for both, and sees that the second never ended while the first was under way. */
async function demandOneAfterTheOther(probe: Probe, first: Asked, second: Asked): Promise<void> {
  const [one, other] = await probe.eventually(
    `the ends of ${first.operationId} and its successor`,
    async () => {
      const [one, other] = (await probe.get(first, second)) as [OperationStatus, OperationStatus];
      const [isOver, otherIsOver] = [one, other].map(({ state }) => state !== OperationState.PROCESSING);
      demand(
        Boolean(isOver) || !otherIsOver,
        `${second.operationId} to wait for ${first.operationId}`,
        () => `${say(other)} while the first is ${say(one)}`,
        other,
      );
      return isOver && otherIsOver ? { is: [one, other] as const } : { not: `${say(one)}, ${say(other)}` };
    },
  );
  demand(
    isOrdered(one.ended, other.ended),
    'the second to end after the first',
    `${timeText(other.ended)} and ${timeText(one.ended)}`,
    other,
  );
}

/** The past is fenced, and the operations of one resource run one at a time (I9). */
export const EPOCHS = group('epochs', ['regions'], {
  'older-after-newer': {
    rule: 'I9: an epoch below the highest accepted one is STALE_EPOCH, names the highest one, and does nothing',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 7 }), 'SUCCESS');
      const late = [probe.deletion(1, { epoch: 6 }), probe.creation(1, { epoch: 1, database: 'other' })];
      for (const operation of late) {
        demandStale(await probe.submitOne(operation), 7);
        demandSaid(await probe.statusOf(operation), 'TASK_NOT_EXIST');
      }
      await probe.demandPresent(1);
    },
  },
  'late-creation': {
    rule: 'I9: a creation that comes after the deletion of its group does not bring the region back',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 1 }), 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 2 }), 'SUCCESS');
      demandStale(await probe.submitOne(probe.creation(1, { epoch: 1, attempt: 2 })), 2);
      await probe.expectEnd(probe.deletion(2, { epoch: 7 }), 'SUCCESS');
      demandStale(await probe.submitOne(probe.creation(2, { epoch: 6 })), 7);
      await probe.demandPresent();
    },
  },
  'before-duplicates': {
    rule: 'I9: the epoch is judged before duplicates are: what was recorded is STALE_EPOCH as well, and Get tells its end',
    async run(probe) {
      const operation = probe.creation(1, { epoch: 1 });
      const end = await probe.expectEnd(operation, 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 2 }), 'SUCCESS');
      demandStale(await probe.submitOne(operation), 2);
      demandStale(await probe.submitOne(probe.creation(1, { epoch: 1, database: 'other' })), 2);
      demandSameStatus(await probe.statusOf(operation), end, 'when Get is asked');
    },
  },
  'equal-is-not-stale': {
    rule: 'I9: only a lower epoch is stale: several operations may have the same one',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 4 }), 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 4 }), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { epoch: 4, attempt: 2 }), 'SUCCESS');
    },
  },
  'of-one-resource': {
    rule: 'I9: an epoch fences its own resource and no other',
    async run(probe) {
      await probe.expectEnd(probe.deletion(1, { epoch: 1_000_000 }), 'SUCCESS');
      await probe.expectEnd(probe.creation(2, { epoch: 1 }), 'SUCCESS');
    },
  },
  'within-a-batch': {
    rule: 'I9: within one call an entry below an earlier one of its resource is STALE_EPOCH',
    async run(probe) {
      const [deletion, late] = [probe.deletion(1, { epoch: 6 }), probe.creation(1, { epoch: 5 })];
      const answers = await probe.submit(deletion, late);
      demandStale(answers[1]!, 6);
      demandSaid(await probe.ended(deletion), 'SUCCESS');
      await probe.demandPresent();
    },
  },
  'newer-in-a-batch': {
    rule: 'I9: within one call a later entry of a higher epoch has the last word',
    async run(probe) {
      const [creation, deletion] = [probe.creation(1, { epoch: 5 }), probe.deletion(1, { epoch: 6 })];
      await probe.submit(creation, deletion);
      demandSaid(await probe.ended(deletion), 'SUCCESS');
      demandSaid(await probe.ended(creation), 'SUCCESS', 'FAIL(SUPERSEDED)');
      await probe.demandPresent();
    },
  },
  'newer-waits-for-older': {
    rule: 'I9: a newer epoch that comes while an older one runs waits for its end: the order is kept, never both at once',
    needs: ['faults'],
    async run(probe) {
      const creation = await probe.whileHeld(
        (groupId) => probe.creation(groupId, { epoch: 1 }),
        async (held, { groupId }) => {
          const newer = probe.deletion(groupId, { epoch: 2 });
          demandSaid(await probe.submitOne(newer), 'PROCESSING');
          for (const status of await probe.get(held, newer)) demandSaid(status, 'PROCESSING');
        },
      );
      const groupId = groupOf(creation);
      await demandOneAfterTheOther(probe, creation, probe.deletion(groupId, { epoch: 2 }));
      demandSaid(await probe.statusOf(creation), 'SUCCESS');
      demandSaid(await probe.statusOf(probe.deletion(groupId, { epoch: 2 })), 'SUCCESS');
      await probe.demandPresent();
    },
  },
  'never-two-at-once': {
    rule: 'I9: two operations of one resource and epoch never run at once: the second waits',
    needs: ['faults'],
    async run(probe) {
      const deletion = await probe.whileHeld(
        async (groupId) => {
          await probe.createAll(probe.creation(groupId));
          return probe.deletion(groupId);
        },
        async (_held, { groupId }) => {
          // Were it not to wait, it would find the region and fail, or make it while it is being removed.
          const next = probe.creation(groupId, { attempt: 2, database: 'other' });
          demandSaid(await probe.submitOne(next), 'PROCESSING');
          demandSaid(await probe.statusOf(next), 'PROCESSING');
        },
      );
      const groupId = groupOf(deletion);
      const next = probe.creation(groupId, { attempt: 2, database: 'other' });
      await demandOneAfterTheOther(probe, deletion, next);
      demandSaid(await probe.statusOf(next), 'SUCCESS');
    },
  },
  'what-waits-is-superseded': {
    rule: 'I9: what had not started when a higher epoch was accepted ends as FAIL(SUPERSEDED), without effect',
    needs: ['faults'],
    async run(probe) {
      const creation = await probe.whileHeld(
        (groupId) => probe.creation(groupId, { epoch: 1 }),
        async (_held, { groupId }) => {
          const waiting = probe.deletion(groupId, { epoch: 1 });
          demandSaid(await probe.submitOne(waiting), 'PROCESSING');
          demandSaid(await probe.submitOne(probe.creation(groupId, { epoch: 2 })), 'PROCESSING');
        },
      );
      const groupId = groupOf(creation);
      demandSaid(await probe.ended(probe.creation(groupId, { epoch: 2 })), 'SUCCESS');
      demandSaid(await probe.ended(probe.deletion(groupId, { epoch: 1 })), 'FAIL(SUPERSEDED)');
      demandSaid(await probe.statusOf(creation), 'SUCCESS');
    },
  },
  'order-of-acceptance': {
    rule: 'I9: operations of one resource and epoch run in the order in which they were accepted',
    async run(probe) {
      // Were any two of them exchanged, a creation would find the region of another database.
      const order = Array.from({ length: 12 }, (_, i) =>
        i % 2 === 0
          ? probe.creation(1, { attempt: i + 1, database: `database-${i}` })
          : probe.deletion(1, { attempt: i + 1 }),
      );
      for (const end of await probe.finish(...order)) demandSaid(end, 'SUCCESS');
    },
  },
  'one-holds-up-no-other': {
    rule: 'I8: a resource whose operation is slow holds up no other resource',
    needs: ['faults'],
    async run(probe) {
      await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (held) => {
          await probe.expectEnd(probe.creation(probe.freshGroup()), 'SUCCESS');
          demandSaid(await probe.statusOf(held), 'PROCESSING');
        },
      );
    },
  },
  'refused-raise-nothing': {
    rule: 'I10: an operation that is refused raises no epoch',
    async run(probe) {
      const malformed: Asked = { ...probe.creation(1, { epoch: 50 }), request: probe.deletion(1).request! };
      demandSaid(await probe.submitOne(malformed), 'REFUSED(INVALID_ARGUMENT)');
      await probe.expectEnd(probe.creation(1, { epoch: 1 }), 'SUCCESS');
    },
  },
  'are-listed': {
    rule: 'I9: ListEpochs and ListRegions tell the highest epoch accepted, also after the region is gone',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 3 }), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { epoch: 5 }), 'SUCCESS');
      const [region] = await probe.regions();
      demand(region?.epoch === 5n, 'epoch 5 for the region', String(region?.epoch), region);
      await probe.expectEnd(probe.deletion(2, { epoch: 9 }), 'SUCCESS');
      const all = await probe.allEpochs();
      const of = (groupId: number) =>
        all.find(({ resource }) => resource === `region/${probe.catalogId}/${groupId}`)?.epoch;
      const [first, second] = [of(1), of(2)];
      demand(first === 5n, 'epoch 5 for the first resource', String(first));
      demand(second === 9n, 'epoch 9 for the second resource', String(second));
    },
  },
});
