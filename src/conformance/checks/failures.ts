import { OperationState } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group } from '../check.js';
import { demandSameStatus, timeText } from '../operations.js';
import { demand } from '../violation.js';

const FAIL = { case: 'fail', value: { message: 'conformance: as you wish' } } as const;

/** A failure never becomes a success (I3). */
export const FAILURES = group('failures', ['regions'], {
  'say-why': {
    rule: 'FAIL has a code, a message for people and an end',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const end = await probe.expectEnd(probe.creation(1, { attempt: 2, database: 'other' }), 'FAIL');
      demand((end.error?.code ?? 0) > 0, 'an error code', 'none', end);
      demand((end.error?.message ?? '') !== '', 'an error message', 'none', end);
      demand(end.ended !== undefined, 'an end', timeText(end.ended), end);
    },
  },
  'stay-when-the-cause-is-gone': {
    rule: 'I3: FAIL is final for its id, also when it would succeed by now',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const failed = probe.creation(1, { attempt: 2, database: 'other' });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      for (let again = 0; again < 3; again += 1) {
        demandSameStatus(await probe.submitOne(failed), end, 'when it is submitted again');
      }
      // Waits for whatever is under way for the resource.
      await probe.expectEnd(probe.deletion(1, { attempt: 2 }), 'SUCCESS');
      demandSameStatus(await probe.statusOf(failed), end, 'when Get is asked');
      await probe.demandPresent();
    },
  },
  'allow-a-new-attempt': {
    rule: 'I3: after FAIL a new attempt, that is a new id, runs; the failed one stays as it is',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const failed = probe.creation(1, { attempt: 2, database: 'other' });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { attempt: 3, database: 'other' }), 'SUCCESS');
      demandSameStatus(await probe.submitOne(failed), end, 'after the new attempt');
      await probe.demandPresent(1);
    },
  },
  'of-an-effect-stay': {
    rule: 'I3: FAIL of an effect that cannot be done is final for its id; a new attempt does it',
    needs: ['faults'],
    async run(probe) {
      const failed = probe.creation(1);
      await probe.fault(failed, { target: 'create-region', kind: FAIL });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.demandPresent();
      demandSameStatus(await probe.submitOne(failed), end, 'when it is submitted again');
      await probe.demandPresent();
      await probe.expectEnd(probe.creation(1, { attempt: 2 }), 'SUCCESS');
      demandSameStatus(await probe.submitOne(failed), end, 'after the new attempt');
    },
  },
  'after-the-effect-stay': {
    rule: 'I3: FAIL told after the effect was done stays FAIL, although the region is there',
    needs: ['faults'],
    async run(probe) {
      const failed = probe.creation(1);
      const kind = { case: 'fail', value: { ...FAIL.value, afterEffect: true } } as const;
      await probe.fault(failed, { target: 'create-region', kind });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.demandPresent(1);
      demandSameStatus(await probe.submitOne(failed), end, 'when it is submitted again');
      await probe.expectEnd(probe.creation(1, { attempt: 2 }), 'SUCCESS');
    },
  },
  'of-a-deletion-stay': {
    rule: 'I3: a deletion that failed is not a success because the region is gone by now',
    needs: ['faults'],
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const failed = probe.deletion(1);
      await probe.fault(failed, { target: 'delete-region', kind: FAIL });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.expectEnd(probe.deletion(1, { attempt: 2 }), 'SUCCESS');
      await probe.demandPresent();
      demandSameStatus(await probe.submitOne(failed), end, 'when it is submitted again');
      demandSameStatus(await probe.statusOf(failed), end, 'when Get is asked');
    },
  },
  'ends-never-change': {
    rule: 'I3: what is over is never PROCESSING again and never ends otherwise, however often it is asked',
    async run(probe) {
      const operations = [
        probe.creation(1),
        probe.creation(1, { attempt: 2, database: 'other' }),
        probe.creation(2),
        probe.deletion(2),
      ];
      const ends = await probe.finish(...operations);
      for (let look = 0; look < 20; look += 1) {
        const statuses = look % 2 === 0 ? await probe.get(...operations) : await probe.submit(...operations);
        for (const [index, status] of statuses.entries()) {
          demand(status.state !== OperationState.PROCESSING, 'an end', 'PROCESSING', status);
          demandSameStatus(status, ends[index]!, 'when it is asked again');
        }
      }
    },
  },
});
