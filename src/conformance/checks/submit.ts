import { group } from '../check.js';
import { demandSaid, demandSameStatus, isOrdered, timeText } from '../operations.js';
import { demand } from '../violation.js';

/** Submit and Get: what is accepted, and when it is over. */
export const SUBMIT = group('submit', ['regions'], {
  'status-says-when': {
    rule: 'started is set from the acceptance on, ended at the end, and now in every answer, by one clock',
    async run(probe) {
      const operation = probe.creation(1);
      const answer = await probe.operations.submit({ node: probe.ref, operations: [operation] });
      demand(answer.now !== undefined, 'now, the clock of the node', 'none', answer);
      const end = await probe.ended(operation);
      demandSaid(end, 'SUCCESS');
      demand(
        isOrdered(end.started, end.ended),
        'started, and an end that is not before it',
        `started ${timeText(end.started)}, ended ${timeText(end.ended)}`,
        end,
      );
      demand(end.progress !== undefined, 'progress in a status that is known', 'none', end);
      const { now } = await probe.operations.get({ node: probe.ref, operationIds: [operation.operationId] });
      demand(
        isOrdered(end.ended, now),
        'an end that is not after now',
        `ended ${timeText(end.ended)}, now ${timeText(now)}`,
      );
    },
  },
  'answers-in-order': {
    rule: 'Submit and Get answer one status for each entry, in the order of the request',
    async run(probe) {
      const operations = [5, 3, 4, 1, 2].map((groupId) => probe.creation(groupId));
      await probe.submit(...operations);
      await probe.get(...operations.toReversed());
      await probe.createAll(...operations);
    },
  },
  'get-agrees': {
    rule: 'I1: Get tells of an operation what Submit tells',
    async run(probe) {
      const operation = probe.creation(1);
      const [end] = await probe.finish(operation);
      demandSameStatus(await probe.submitOne(operation), end!, 'when it is submitted again');
      demandSameStatus(await probe.statusOf(operation), end!, 'when Get is asked');
    },
  },
  'never-accepted-does-not-exist': {
    rule: 'I1: what was never accepted is TASK_NOT_EXIST, also the deletion of a region that is absent',
    async run(probe) {
      const junk = ['', 'junk', 'x'.repeat(5_000)].map((operationId) => ({ operationId, epoch: 1n }));
      const asked = [probe.creation(1), probe.deletion(1), probe.deletion(2, { attempt: 7 }), ...junk];
      for (const status of await probe.get(...asked)) demandSaid(status, 'TASK_NOT_EXIST');
    },
  },
  'get-starts-nothing': {
    rule: 'Get starts nothing: what it was asked about does not come to be',
    async run(probe) {
      const operations = [probe.creation(1), probe.deletion(2)];
      await probe.expectEnd(probe.creation(2), 'SUCCESS');
      for (const status of await probe.get(...operations)) demandSaid(status, 'TASK_NOT_EXIST');
      // Operations on the same resources would wait for them, were they under way.
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      await probe.expectEnd(probe.creation(2, { attempt: 2, database: 'other' }), 'FAIL(ALREADY_EXISTS)');
      for (const status of await probe.get(...operations)) demandSaid(status, 'TASK_NOT_EXIST');
      await probe.demandPresent(2);
    },
  },
  'reply-does-not-wait': {
    rule: 'the effect never holds up the reply: a slow one is answered as PROCESSING',
    needs: ['faults'],
    async run(probe) {
      await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (_held, { first }) => demandSaid(first, 'PROCESSING'),
      );
    },
  },
  'no-success-before-the-effect': {
    rule: 'I1: SUCCESS is told when the effect is over, not before',
    needs: ['faults'],
    async run(probe) {
      await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (held, { first, groupId }) => {
          demandSaid(first, 'PROCESSING');
          demandSaid(await probe.statusOf(held), 'PROCESSING');
          demandSaid(await probe.submitOne(held), 'PROCESSING');
          const listed = (await probe.regions()).some(({ region }) => region?.groupId === BigInt(groupId));
          demand(!listed, 'a region that is being made not to be listed', 'it is listed');
        },
      );
    },
  },
  'deletion-ends-after-the-effect': {
    rule: 'I3: a region is gone when the node says so for this operation, not when it was asked',
    needs: ['faults'],
    async run(probe) {
      const deletion = await probe.whileHeld(
        async (groupId) => {
          await probe.createAll(probe.creation(groupId));
          return probe.deletion(groupId);
        },
        async (held) => demandSaid(await probe.statusOf(held), 'PROCESSING'),
      );
      demandSaid(await probe.ended(deletion), 'SUCCESS');
    },
  },
  'accepted-is-known-at-once': {
    rule: 'I1: what was accepted is known from then on, while it runs and while it waits',
    needs: ['faults'],
    async run(probe) {
      await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (held, { groupId }) => {
          const waiting = probe.creation(groupId, { attempt: 2 });
          demandSaid(await probe.submitOne(waiting), 'PROCESSING');
          for (const status of await probe.get(held, waiting)) demandSaid(status, 'PROCESSING');
        },
      );
    },
  },
  'lost-reply-then-query': {
    rule: 'I1: an operation whose reply was lost is known, and asking again joins it',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      const effects = await probe.countEffects(operation);
      await probe.fault(operation, { target: 'Submit', kind: { case: 'dropReply', value: true } });
      const reply = await probe.submit(operation).catch(() => 'lost' as const);
      demand(reply === 'lost', 'no reply, as the fault says', 'a reply');
      demandSaid(await probe.statusOf(operation), 'PROCESSING', 'SUCCESS');
      demandSaid(await probe.submitOne(operation), 'PROCESSING', 'SUCCESS');
      demandSaid(await probe.ended(operation), 'SUCCESS');
      const ran = await effects();
      demand(ran === 1, 'one effect', `${ran} effects`);
    },
  },
  'lost-request-then-query': {
    rule: 'I1: an operation that never arrived is TASK_NOT_EXIST, and runs when it is submitted again',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      await probe.fault(operation, { target: 'Submit', kind: { case: 'error', value: 'unavailable' } });
      const reply = await probe.submit(operation).catch(() => 'lost' as const);
      demand(reply === 'lost', 'no reply, as the fault says', 'a reply');
      demandSaid(await probe.statusOf(operation), 'TASK_NOT_EXIST');
      await probe.expectEnd(operation, 'SUCCESS');
    },
  },
  'caller-gives-up': {
    rule: 'I1: a caller that gave up finds its operations known or TASK_NOT_EXIST, and asking again runs them once',
    async run(probe) {
      const creations = [1, 2, 3].map((groupId) => probe.creation(groupId));
      const deletions = Array.from({ length: 100 }, (_, i) => probe.deletion(i + 10));
      const operations = [...creations, ...deletions];
      const given = new AbortController();
      const call = probe.operations
        .submit({ node: probe.ref, operations }, { signal: given.signal })
        .catch(() => undefined);
      setImmediate(() => given.abort());
      await call;
      for (const status of await probe.get(...operations)) {
        demandSaid(status, 'PROCESSING', 'SUCCESS', 'TASK_NOT_EXIST');
      }
      for (const end of await probe.finish(...operations)) demandSaid(end, 'SUCCESS');
      await probe.demandPresent(1, 2, 3);
    },
  },
  'full-batch': {
    rule: 'Submit takes up to 250 operations in a call, of many resources and several verbs',
    async run(probe) {
      const creations = [1, 2, 3].map((groupId) => probe.creation(groupId));
      const deletions = Array.from({ length: 247 }, (_, i) => probe.deletion(i + 10));
      const ends = await probe.finish(...creations, ...deletions);
      for (const end of ends) demandSaid(end, 'SUCCESS');
      await probe.demandPresent(1, 2, 3);
    },
  },
});
