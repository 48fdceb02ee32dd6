import { RegionKind } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group } from '../check.js';
import { type Asked, demandSaid, demandSameStatus, groupOf, timeText } from '../operations.js';
import type { Probe } from '../probe.js';
import { demand } from '../violation.js';

const CALLS = 50;
const CONNECTIONS = 5;

/** Submits one operation many times at once, and sees that all calls speak of the same one. */
async function submitManyTimes(probe: Probe, operation: Asked): Promise<void> {
  const connections = Array.from({ length: CONNECTIONS }, () => probe.connect().operations);
  const answers = await Promise.all(
    Array.from({ length: CALLS }, (_, i) =>
      connections[i % CONNECTIONS]!.submit({ node: probe.ref, operations: [operation] }),
    ),
  );
  const starts = new Set<string>();
  for (const answer of answers) {
    const [status] = answer.statuses;
    demand(status !== undefined, 'a status', 'none', answer);
    demandSaid(status, 'PROCESSING', 'SUCCESS');
    starts.add(timeText(status.started));
  }
  const end = await probe.ended(operation);
  demandSaid(end, 'SUCCESS');
  starts.add(timeText(end.started));
  demand(starts.size === 1, `one start for ${CALLS} submissions`, `${[...starts].join(', ')}`, end);
}

/** Sees that no second effect ran, nor waits for its turn. */
async function demandOneEffect(
  probe: Probe,
  operation: Asked,
  effects: () => Promise<number>,
): Promise<void> {
  // Its turn comes after whatever else is under way for the resource.
  await probe.expectEnd(probe.creation(groupOf(operation), { attempt: 2 }), 'SUCCESS');
  const ran = await effects();
  demand(ran === 1, 'one effect', `${ran} effects`);
}

/** Sees that an operation id is refused with each of these requests, and that its own is not disturbed by it. */
async function demandReuseRefused(probe: Probe, others: readonly Asked[]): Promise<void> {
  for (const other of others) {
    const status = await probe.submitOne(other);
    demandSaid(status, 'REFUSED(INVALID_ARGUMENT)');
    demand(status.refusal?.message !== '', 'a message that says why', 'none', status);
  }
}

/** The same operation again (I2): joined while it runs, answered from the record when it is over, never run again. */
export const DUPLICATES = group('duplicates', ['regions'], {
  'in-flight': {
    rule: 'I2: a duplicate of what runs joins it: the same start, one effect',
    needs: ['faults'],
    async run(probe) {
      let effects: () => Promise<number> = async () => 0;
      const operation = await probe.whileHeld(
        async (groupId) => {
          const made = probe.creation(groupId);
          effects = await probe.countEffects(made);
          return made;
        },
        async (held, { first }) => {
          const again = await probe.submitOne(held);
          demandSaid(again, 'PROCESSING');
          const [was, is] = [timeText(first.started), timeText(again.started)];
          demand(was === is, `started ${was}, as the first answer said`, is, again);
        },
      );
      demandSaid(await probe.ended(operation), 'SUCCESS');
      await demandOneEffect(probe, operation, effects);
    },
  },
  'handled-twice': {
    rule: 'I2: a call that the network delivers twice has one effect',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      const effects = await probe.countEffects(operation);
      await probe.fault(operation, { target: 'Submit', kind: { case: 'duplicate', value: true } });
      await probe.expectEnd(operation, 'SUCCESS');
      await demandOneEffect(probe, operation, effects);
    },
  },
  'after-success': {
    rule: 'I2: a duplicate of what succeeded gets the recorded end',
    async run(probe) {
      const operation = probe.creation(1);
      const end = await probe.expectEnd(operation, 'SUCCESS');
      for (let again = 0; again < 3; again += 1) {
        demandSameStatus(await probe.submitOne(operation), end, 'when it is submitted again');
      }
      await probe.demandPresent(1);
    },
  },
  'success-is-not-repeated': {
    rule: 'I2: what succeeded does not run again, also when its effect was undone since',
    async run(probe) {
      const operation = probe.creation(1);
      const end = await probe.expectEnd(operation, 'SUCCESS');
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      demandSameStatus(await probe.submitOne(operation), end, 'when it is submitted again');
      // Waits for whatever is under way for the resource.
      await probe.expectEnd(probe.creation(1, { attempt: 2, database: 'other' }), 'SUCCESS');
    },
  },
  'deletion-is-not-repeated': {
    rule: 'I2: a deletion that succeeded does not remove a region that was made since',
    async run(probe) {
      const deletion = probe.deletion(1);
      const end = await probe.expectEnd(deletion, 'SUCCESS');
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      demandSameStatus(await probe.submitOne(deletion), end, 'when it is submitted again');
      // Waits for whatever is under way for the resource, and finds the region that must be there still.
      await probe.expectEnd(probe.creation(1, { attempt: 2, database: 'other' }), 'FAIL(ALREADY_EXISTS)');
      await probe.demandPresent(1);
    },
  },
  'after-failure': {
    rule: 'I2: a duplicate of what failed gets the recorded end',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const operation = probe.creation(1, { attempt: 2, database: 'other' });
      const end = await probe.expectEnd(operation, 'FAIL');
      demandSameStatus(await probe.submitOne(operation), end, 'when it is submitted again');
      demandSameStatus(await probe.statusOf(operation), end, 'when Get is asked');
    },
  },
  'fifty-creations-at-once': {
    rule: 'I2: 50 identical submissions at once, over several connections, are one operation',
    async run(probe) {
      await submitManyTimes(probe, probe.creation(1));
      await probe.demandPresent(1);
    },
  },
  'fifty-deletions-at-once': {
    rule: 'I2: 50 identical deletions at once are one operation',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await submitManyTimes(probe, probe.deletion(1));
      await probe.demandPresent();
    },
  },
  'fifty-at-once-one-effect': {
    rule: 'I2: 50 identical submissions at once have one effect',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      const effects = await probe.countEffects(operation);
      await submitManyTimes(probe, operation);
      await demandOneEffect(probe, operation, effects);
    },
  },
  'twice-in-a-batch': {
    rule: 'I2: two entries of one id in a call are one operation, and are answered both',
    async run(probe) {
      const operation = probe.creation(1);
      const [first, second, other] = await probe.submit(
        operation,
        operation,
        probe.creation(1, { database: 'other' }),
      );
      for (const status of [first!, second!]) demandSaid(status, 'PROCESSING', 'SUCCESS');
      const [was, is] = [timeText(first!.started), timeText(second!.started)];
      demand(was === is, `started ${was} for both`, is, second);
      demandSaid(other!, 'REFUSED(INVALID_ARGUMENT)');
      demandSaid(await probe.ended(operation), 'SUCCESS');
    },
  },
  'another-request-in-flight': {
    rule: 'I2: the id of what runs is INVALID_ARGUMENT with another request, which changes nothing',
    needs: ['faults'],
    async run(probe) {
      const operation = await probe.whileHeld(
        (groupId) => probe.creation(groupId),
        async (held, { groupId }) => {
          await demandReuseRefused(probe, [
            probe.creation(groupId, { database: 'other' }),
            probe.creation(groupId, { kind: RegionKind.SCHEMA }),
          ]);
          demandSaid(await probe.statusOf(held), 'PROCESSING');
        },
      );
      demandSaid(await probe.ended(operation), 'SUCCESS');
    },
  },
  'another-request-after-success': {
    rule: 'I2: the id of what succeeded is INVALID_ARGUMENT with another request, which changes nothing',
    async run(probe) {
      const operation = probe.creation(1);
      const end = await probe.expectEnd(operation, 'SUCCESS');
      const before = await probe.listed();
      await demandReuseRefused(probe, [
        probe.creation(1, { database: 'other' }),
        probe.creation(1, { kind: RegionKind.SCHEMA }),
      ]);
      demandSameStatus(await probe.statusOf(operation), end, 'after the refusal');
      const after = await probe.listed();
      demand(after.join() === before.join(), `the region as it was: ${before.join()}`, after.join());
    },
  },
  'another-request-after-failure': {
    rule: 'I2: the id of what failed is INVALID_ARGUMENT with another request, which changes nothing',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const end = await probe.expectEnd(probe.creation(1, { attempt: 2, database: 'other' }), 'FAIL');
      // Asks for what is there: a node that compared the request with the disk alone would say SUCCESS.
      await demandReuseRefused(probe, [probe.creation(1, { attempt: 2 })]);
      demandSameStatus(await probe.statusOf(probe.creation(1, { attempt: 2 })), end, 'after the refusal');
    },
  },
  'peers-are-a-set': {
    rule: 'peers are a set: the same id with its peers in another order is the same request',
    async run(probe) {
      const withPeers = (...peers: string[]): Asked => {
        const { request, ...rest } = probe.creation(1);
        if (request?.case !== 'createRegion') throw new Error('not a creation');
        return { ...rest, request: { case: 'createRegion', value: { ...request.value, peers } } };
      };
      const { nodeId } = probe.node;
      const end = await probe.expectEnd(withPeers(nodeId, 'peer-a', 'peer-b'), 'SUCCESS');
      const again = await probe.submitOne(withPeers('peer-b', nodeId, 'peer-a'));
      demandSameStatus(again, end, 'when it is submitted again');
    },
  },
});
