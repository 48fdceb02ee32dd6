import { setTimeout as pause } from 'node:timers/promises';
import { OperationState } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group, RESTART } from '../check.js';
import { type Asked, demandSaid, demandSameStatus, groupOf, say, timeText } from '../operations.js';
import { demand, demandSame } from '../violation.js';

const STORM_BATCH = 4;
const STORM_MOST = 200;
const STORM_EVERY_MS = 5;

/** A node that is killed (SIGKILL) and started again knows what it knew. */
export const RESTARTS = group('restart', ['regions', RESTART], {
  'same-node': {
    rule: 'I1: node id and ledger id are the same after a restart',
    async run(probe) {
      await probe.restart();
      const { nodeId, ledgerId } = await probe.info.getNodeInfo({});
      demandSame({ nodeId, ledgerId }, probe.ref, 'the node that it was');
    },
  },
  'ends-survive': {
    rule: 'I1: what ended is told as before after a restart, SUCCESS and FAIL alike',
    async run(probe) {
      const operations = [
        probe.creation(1),
        probe.creation(1, { attempt: 2, database: 'other' }),
        probe.creation(2),
        probe.deletion(3),
      ];
      const ends = await probe.finish(...operations);
      for (const [index, word] of ['SUCCESS', 'FAIL', 'SUCCESS', 'SUCCESS'].entries()) {
        demandSaid(ends[index]!, word);
      }
      await probe.restart();
      for (const [index, status] of (await probe.get(...operations)).entries()) {
        demandSameStatus(status, ends[index]!, 'after the restart, by Get');
      }
      for (const [index, status] of (await probe.submit(...operations)).entries()) {
        demandSameStatus(status, ends[index]!, 'after the restart, by Submit');
      }
      await probe.demandPresent(1, 2);
    },
  },
  'superseded-ends-survive': {
    rule: 'an end is kept at least 7 days, across a higher epoch and a restart',
    async run(probe) {
      const operation = probe.creation(1, { epoch: 1 });
      const end = await probe.expectEnd(operation, 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 2 }), 'SUCCESS');
      await probe.restart();
      demandSameStatus(await probe.statusOf(operation), end, 'after the restart');
      await probe.demandPresent();
    },
  },
  'success-is-not-repeated': {
    rule: 'I2: what succeeded before a restart does not run again after it',
    async run(probe) {
      const operation = probe.creation(1);
      const end = await probe.expectEnd(operation, 'SUCCESS');
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      await probe.restart();
      demandSameStatus(await probe.submitOne(operation), end, 'after the restart');
      await probe.expectEnd(probe.deletion(1, { attempt: 2 }), 'SUCCESS');
      await probe.demandPresent();
    },
  },
  'another-request-is-refused': {
    rule: 'I2: a known id with another request is INVALID_ARGUMENT also after a restart',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await probe.restart();
      demandSaid(
        await probe.submitOne(probe.creation(1, { database: 'other' })),
        'REFUSED(INVALID_ARGUMENT)',
      );
    },
  },
  'never-accepted-does-not-exist': {
    rule: 'I1: what was never accepted is TASK_NOT_EXIST also after a restart',
    async run(probe) {
      await probe.restart();
      demandSaid(await probe.statusOf(probe.deletion(1)), 'TASK_NOT_EXIST');
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
    },
  },
  'epochs-survive': {
    rule: 'I9: the highest epoch of every resource is kept for ever, also of a region that is gone',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 6 }), 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 7 }), 'SUCCESS');
      await probe.restart();
      demandSaid(await probe.submitOne(probe.creation(1, { epoch: 5 })), 'REFUSED(STALE_EPOCH)');
      const epoch = await probe.epochOf(1);
      demand(epoch === 7n, 'epoch 7 in ListEpochs', String(epoch));
      await probe.demandPresent();
    },
  },
  'regions-survive': {
    rule: 'a region that was created is there after a restart, as it was',
    async run(probe) {
      await probe.createAll(...[1, 2, 3].map((groupId) => probe.creation(groupId)));
      const before = await probe.listed();
      await probe.restart();
      demandSame(await probe.listed(), before, 'the regions from before the restart');
    },
  },
  'at-acceptance': {
    rule: 'I1: every operation whose acceptance was told before a kill is known after it; the others are known or not',
    async run(probe) {
      const told: Asked[] = [];
      const untold: Asked[] = [];
      await probe.restart(async () => {
        for (let groupId = 1; groupId <= STORM_MOST; groupId += STORM_BATCH) {
          const batch = Array.from({ length: STORM_BATCH }, (_, i) => probe.creation(groupId + i));
          try {
            await probe.submit(...batch);
            told.push(...batch);
          } catch {
            untold.push(...batch);
            return;
          }
          await pause(STORM_EVERY_MS);
        }
      });
      const expected: number[] = [];
      for (const operation of [...told, ...untold]) {
        const end = await probe.ended(operation);
        const isTold = told.includes(operation);
        demandSaid(end, 'SUCCESS', 'FAIL(INTERRUPTED)', ...(isTold ? [] : ['TASK_NOT_EXIST']));
        if (end.state === OperationState.SUCCESS) expected.push(groupOf(operation));
      }
      await probe.demandPresent(...expected);
    },
  },
  'in-the-middle-of-a-creation': {
    rule: 'I1, I4: a creation that was cut short is done or FAIL after the restart, and nothing is left of a failed one',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      await probe.hold(operation);
      const before = await probe.submitOne(operation);
      demandSaid(before, 'PROCESSING');
      await probe.restart();
      demandSaid(await probe.statusOf(operation), 'PROCESSING', 'SUCCESS', 'FAIL(INTERRUPTED)');
      const end = await probe.ended(operation);
      demandSaid(end, 'SUCCESS', 'FAIL(INTERRUPTED)');
      const [was, is] = [timeText(before.started), timeText(end.started)];
      demand(was === is, `started ${was}, as before`, is, end);
      await probe.demandPresent(...(end.state === OperationState.SUCCESS ? [1] : []));
      await probe.expectEnd(probe.creation(1, { attempt: 2 }), 'SUCCESS');
      demandSameStatus(await probe.statusOf(operation), end, 'after a new attempt');
    },
  },
  'in-the-middle-of-a-deletion': {
    rule: 'I1: a deletion that was cut short goes on after the restart under the same id, and ends as SUCCESS',
    needs: ['faults'],
    async run(probe) {
      await probe.createAll(probe.creation(1));
      const operation = probe.deletion(1);
      await probe.hold(operation);
      const before = await probe.submitOne(operation);
      demandSaid(before, 'PROCESSING');
      await probe.restart();
      demandSaid(await probe.statusOf(operation), 'PROCESSING', 'SUCCESS');
      const end = await probe.ended(operation);
      demandSaid(end, 'SUCCESS');
      const [was, is] = [timeText(before.started), timeText(end.started)];
      demand(was === is, `started ${was}, as before`, is, end);
      await probe.demandPresent();
    },
  },
  'before-the-reply': {
    rule: 'I1: an operation that was accepted, and whose reply never came, is known after a kill',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      await probe.hold(operation);
      await probe.fault(operation, { target: 'Submit', kind: { case: 'dropReply', value: true } });
      const reply = await probe.submit(operation).catch(() => 'lost' as const);
      demand(reply === 'lost', 'no reply, as the fault says', 'a reply');
      await probe.restart();
      demandSaid(await probe.statusOf(operation), 'PROCESSING', 'SUCCESS', 'FAIL(INTERRUPTED)');
      demandSaid(await probe.ended(operation), 'SUCCESS', 'FAIL(INTERRUPTED)');
    },
  },
  'what-waited-runs': {
    rule: 'I9: operations that waited when the node was killed run after the restart, in their order',
    needs: ['faults'],
    async run(probe) {
      await probe.createAll(probe.creation(1));
      const deletion = probe.deletion(1);
      await probe.hold(deletion);
      const waiting = [
        probe.creation(1, { attempt: 2, database: 'second' }),
        probe.deletion(1, { attempt: 2 }),
        probe.creation(1, { attempt: 3, database: 'third' }),
      ];
      for (const operation of [deletion, ...waiting]) {
        demandSaid(await probe.submitOne(operation), 'PROCESSING');
      }
      await probe.restart();
      for (const operation of [deletion, ...waiting]) demandSaid(await probe.ended(operation), 'SUCCESS');
      demandSame(await probe.listed(), ['1 third DATA PRESENT'], 'the region of the last one');
    },
  },
  'what-was-superseded-stays': {
    rule: 'I9: what a higher epoch had superseded before a kill has no effect after it',
    needs: ['faults'],
    async run(probe) {
      await probe.createAll(probe.creation(1));
      const running = probe.deletion(1);
      await probe.hold(running);
      const superseded = probe.creation(1, { attempt: 2, database: 'other' });
      const newer = probe.deletion(1, { epoch: 2 });
      for (const operation of [running, superseded, newer]) {
        demandSaid(await probe.submitOne(operation), 'PROCESSING');
      }
      await probe.restart();
      demandSaid(await probe.ended(newer), 'SUCCESS');
      demandSaid(await probe.ended(running), 'SUCCESS');
      demandSaid(await probe.ended(superseded), 'FAIL(SUPERSEDED)');
      await probe.demandPresent();
    },
  },
  twice: {
    rule: 'I1: what is known survives a second restart as it survived the first',
    async run(probe) {
      const operations = Array.from({ length: 6 }, (_, i) => probe.creation(i + 1));
      await probe.submit(...operations);
      await probe.restart();
      const ends = await probe.allEnded(operations);
      for (const end of ends) demandSaid(end, 'SUCCESS', 'FAIL(INTERRUPTED)');
      await probe.restart();
      for (const [index, status] of (await probe.get(...operations)).entries()) {
        demandSameStatus(status, ends[index]!, 'after the second restart');
      }
      const made = ends.flatMap((end, index) => (say(end) === 'SUCCESS' ? [index + 1] : []));
      await probe.demandPresent(...made);
    },
  },
});
