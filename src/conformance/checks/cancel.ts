import { group } from '../check.js';
import { demandSaid, demandSameStatus, groupOf } from '../operations.js';

/** Cancel is a wish: it ends what runs and can be undone, and changes nothing that is over. */
export const CANCEL = group('cancel', ['regions'], {
  'late-after-success': {
    rule: 'I3: a cancel that comes after SUCCESS changes nothing',
    async run(probe) {
      const operation = probe.creation(1);
      const end = await probe.expectEnd(operation, 'SUCCESS');
      demandSameStatus(await probe.cancel(operation), end, 'when it is canceled');
      demandSameStatus(await probe.statusOf(operation), end, 'after the cancel');
      await probe.demandPresent(1);
    },
  },
  'late-after-failure': {
    rule: 'I3: a cancel that comes after FAIL changes nothing, not even the reason',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const operation = probe.creation(1, { attempt: 2, database: 'other' });
      const end = await probe.expectEnd(operation, 'FAIL(ALREADY_EXISTS)');
      demandSameStatus(await probe.cancel(operation), end, 'when it is canceled');
      demandSameStatus(await probe.statusOf(operation), end, 'after the cancel');
    },
  },
  'of-the-unknown': {
    rule: 'a cancel of what was never accepted is TASK_NOT_EXIST, leaves no trace, and does not stop it later',
    async run(probe) {
      const operation = probe.creation(1);
      demandSaid(await probe.cancel(operation), 'TASK_NOT_EXIST');
      demandSaid(await probe.statusOf(operation), 'TASK_NOT_EXIST');
      await probe.expectEnd(operation, 'SUCCESS');
    },
  },
  'of-a-running-creation': {
    rule: 'a creation that runs ends as FAIL(CANCELED) and leaves nothing; a new attempt works (I4)',
    needs: ['faults'],
    async run(probe) {
      const groupId = 1;
      const operation = probe.creation(groupId);
      await probe.hold(operation);
      demandSaid(await probe.submitOne(operation), 'PROCESSING');
      demandSaid(await probe.cancel(operation), 'PROCESSING', 'FAIL(CANCELED)');
      demandSaid(await probe.ended(operation), 'FAIL(CANCELED)');
      await probe.demandPresent();
      await probe.expectEnd(probe.creation(groupId, { attempt: 2 }), 'SUCCESS');
      demandSaid(await probe.statusOf(operation), 'FAIL(CANCELED)');
    },
  },
  'of-a-waiting-creation': {
    rule: 'a creation that waits ends as FAIL(CANCELED) and never starts',
    needs: ['faults'],
    async run(probe) {
      const held = await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (_held, { groupId }) => {
          const waiting = probe.creation(groupId, { attempt: 2, database: 'other' });
          demandSaid(await probe.submitOne(waiting), 'PROCESSING');
          demandSaid(await probe.cancel(waiting), 'PROCESSING', 'FAIL(CANCELED)');
        },
      );
      demandSaid(await probe.ended(held), 'SUCCESS');
      const groupId = groupOf(held);
      const waiting = probe.creation(groupId, { attempt: 2, database: 'other' });
      demandSaid(await probe.ended(waiting), 'FAIL(CANCELED)');
    },
  },
  'of-a-deletion': {
    rule: 'a deletion ignores a cancel and ends as SUCCESS: what is half removed can only be removed',
    needs: ['faults'],
    async run(probe) {
      const deletion = await probe.whileHeld(
        async (groupId) => {
          await probe.createAll(probe.creation(groupId));
          return probe.deletion(groupId);
        },
        async (held) => {
          demandSaid(await probe.cancel(held), 'PROCESSING');
          demandSaid(await probe.statusOf(held), 'PROCESSING');
        },
      );
      demandSaid(await probe.ended(deletion), 'SUCCESS');
      await probe.demandPresent();
    },
  },
});
