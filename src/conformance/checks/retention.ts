import { group } from '../check.js';
import { demandSaid, demandSameStatus } from '../operations.js';

/** Ends are kept until a higher epoch supersedes them, and at least 7 days. */
export const RETENTION = group('retention', ['regions'], {
  'of-a-superseded-success': {
    rule: 'an end is kept at least 7 days: a higher epoch of the resource alone does not drop it',
    async run(probe) {
      const operation = probe.creation(1, { epoch: 1 });
      const end = await probe.expectEnd(operation, 'SUCCESS');
      for (const epoch of [2, 3, 4]) {
        await probe.expectEnd(probe.deletion(1, { epoch }), 'SUCCESS');
        demandSameStatus(await probe.statusOf(operation), end, `after epoch ${epoch}`);
      }
    },
  },
  'of-a-superseded-failure': {
    rule: 'I3: FAIL is kept at least 7 days, with its reason: a higher epoch of the resource alone does not drop it',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const failed = probe.creation(1, { attempt: 2, database: 'other' });
      const end = await probe.expectEnd(failed, 'FAIL');
      await probe.expectEnd(probe.deletion(1, { epoch: 2 }), 'SUCCESS');
      demandSameStatus(await probe.statusOf(failed), end, 'after a higher epoch');
    },
  },
  'of-many-attempts': {
    rule: 'every attempt keeps its own end',
    async run(probe) {
      const attempts = Array.from({ length: 30 }, (_, i) =>
        probe.creation(1, { attempt: i + 1, database: i === 0 ? 'first' : 'other' }),
      );
      const ends = await probe.finish(...attempts);
      for (const [index, end] of ends.entries()) {
        demandSaid(end, index === 0 ? 'SUCCESS' : 'FAIL(ALREADY_EXISTS)');
      }
      for (const [index, status] of (await probe.get(...attempts)).entries()) {
        demandSameStatus(status, ends[index]!, 'when Get is asked');
      }
    },
  },
});
