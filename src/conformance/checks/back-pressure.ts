import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { group } from '../check.js';
import { demandSaid, demandSameStatus } from '../operations.js';
import { demand } from '../violation.js';

const BUSY = { case: 'busy', value: durationFromMs(7_000) } as const;

/** A node that has too much to do says when to come again. */
export const BACK_PRESSURE = group('back-pressure', ['regions', 'faults'], {
  'has-a-delay': {
    rule: 'a busy node answers RESOURCE_EXHAUSTED with a delay after which to ask again',
    async run(probe) {
      const operation = probe.creation(1);
      await probe.fault(operation, { target: 'Submit', kind: BUSY });
      const status = await probe.submitOne(operation);
      demandSaid(status, 'REFUSED(RESOURCE_EXHAUSTED)');
      const retryAfter = status.refusal?.retryAfter;
      const delayMs = retryAfter === undefined ? 0 : durationMs(retryAfter);
      demand(delayMs > 0, 'retry_after, more than 0', `${delayMs} ms`, status);
    },
  },
  'leaves-no-trace': {
    rule: 'what a busy node refused was never accepted: TASK_NOT_EXIST, no epoch raised, and it runs when it comes again',
    async run(probe) {
      const refused = probe.deletion(1, { epoch: 9 });
      await probe.fault(refused, { target: 'Submit', kind: BUSY });
      demandSaid(await probe.submitOne(refused), 'REFUSED(RESOURCE_EXHAUSTED)');
      demandSaid(await probe.statusOf(refused), 'TASK_NOT_EXIST');
      await probe.expectEnd(probe.creation(1, { epoch: 3 }), 'SUCCESS');
      await probe.expectEnd(refused, 'SUCCESS');
    },
  },
  'spares-what-is-known': {
    rule: 'an operation that was accepted is told its status however busy the node is',
    async run(probe) {
      const [known, fresh] = [probe.creation(1), probe.creation(2)];
      const end = await probe.expectEnd(known, 'SUCCESS');
      await probe.fault(fresh, { target: 'Submit', kind: BUSY });
      const [first, second] = await probe.submit(known, fresh);
      demandSameStatus(first!, end, 'from a busy node');
      demandSaid(second!, 'REFUSED(RESOURCE_EXHAUSTED)');
    },
  },
});
