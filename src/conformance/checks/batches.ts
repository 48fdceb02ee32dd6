import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { group } from '../check.js';
import { demandSaid } from '../operations.js';
import { demand } from '../violation.js';

/** Each operation of a call is accepted or refused by itself (I10). */
export const BATCHES = group('batches', ['regions'], {
  'one-bad-entry': {
    rule: 'I10: a malformed operation is refused, and the others of its call are not',
    async run(probe) {
      const [first, last] = [probe.creation(1), probe.creation(3)];
      const bad = { ...probe.creation(2), operationId: `junk-${randomUUID()}` };
      const answers = await probe.submit(first, bad, last);
      demandSaid(answers[1]!, 'REFUSED(INVALID_ARGUMENT)');
      for (const end of await probe.finish(first, last)) demandSaid(end, 'SUCCESS');
      await probe.demandPresent(1, 3);
    },
  },
  'one-stale-entry': {
    rule: 'I10: an operation that is refused for its epoch holds up none of the others of its call',
    async run(probe) {
      await probe.expectEnd(probe.deletion(2, { epoch: 9 }), 'SUCCESS');
      const [first, last] = [probe.creation(1), probe.creation(3)];
      const answers = await probe.submit(first, probe.creation(2, { epoch: 8 }), last);
      demandSaid(answers[1]!, 'REFUSED(STALE_EPOCH)');
      for (const end of await probe.finish(first, last)) demandSaid(end, 'SUCCESS');
      await probe.demandPresent(1, 3);
    },
  },
  'one-failing-entry': {
    rule: 'I10: an operation that fails holds up none of the others of its call',
    async run(probe) {
      await probe.expectEnd(probe.creation(2), 'SUCCESS');
      const bad = probe.creation(2, { attempt: 2, database: 'other' });
      const ends = await probe.finish(probe.creation(1), bad, probe.creation(3));
      demandSaid(ends[0]!, 'SUCCESS');
      demandSaid(ends[1]!, 'FAIL(ALREADY_EXISTS)');
      demandSaid(ends[2]!, 'SUCCESS');
    },
  },
  'of-251': {
    rule: 'I10: a call of 251 operations or ids is INVALID_ARGUMENT, and none of them is accepted',
    async run(probe) {
      const operations = Array.from({ length: 251 }, (_, i) => probe.creation(i + 1));
      const operationIds = operations.map(({ operationId }) => operationId);
      const node = probe.ref;
      await probe.demandRefused(probe.operations.submit({ node, operations }), Code.InvalidArgument);
      await probe.demandRefused(probe.operations.get({ node, operationIds }), Code.InvalidArgument);
      await probe.demandRefused(probe.operations.cancel({ node, operationIds }), Code.InvalidArgument);
      for (const status of await probe.get(...operations.slice(0, 250))) demandSaid(status, 'TASK_NOT_EXIST');
    },
  },
  'of-none': {
    rule: 'a call of no operations is valid, and answers no status',
    async run(probe) {
      const node = probe.ref;
      for (const answer of [
        await probe.operations.submit({ node, operations: [] }),
        await probe.operations.get({ node, operationIds: [] }),
        await probe.operations.cancel({ node, operationIds: [] }),
      ]) {
        demand(answer.statuses.length === 0, 'no status', String(answer.statuses.length), answer);
      }
    },
  },
});
