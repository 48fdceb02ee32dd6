import { describe, expect, test } from 'vitest';
import { nodeForAllTests } from './node-process.js';
import {
  ALL_FILES,
  creation,
  deletion,
  ended,
  FOR_EVER,
  filesOf,
  finish,
  leftIn,
  say,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

describe('the past is fenced (I9)', () => {
  const node = nodeForAllTests();

  test('a create that was delayed past the delete of its group does not bring the region back', async () => {
    expect(await finish(node, deletion(1, { epoch: 7 }))).toEqual(['SUCCESS']);
    const [late] = await submit(node, creation(1, { epoch: 6 }));
    expect(say(late!)).toBe('REFUSED(STALE_EPOCH)');
    expect(late?.refusal?.highestEpoch).toBe(7n);
    expect(say(await statusOf(node, creation(1, { epoch: 6 })))).toBe('TASK_NOT_EXIST');
    expect(filesOf(node, 1)).toBeUndefined();
  });

  test('the epoch is judged before duplicates are: what was recorded is stale as well', async () => {
    expect(await finish(node, creation(2, { epoch: 1 }))).toEqual(['SUCCESS']);
    expect(await finish(node, deletion(2, { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(say((await submit(node, creation(2, { epoch: 1 })))[0]!)).toBe('REFUSED(STALE_EPOCH)');
    expect(say((await submit(node, creation(2, { epoch: 1, database: 'x' })))[0]!)).toBe(
      'REFUSED(STALE_EPOCH)',
    );
    expect(say(await statusOf(node, creation(2, { epoch: 1 })))).toBe('SUCCESS');
  });

  test('equal epochs are not stale', async () => {
    expect(await finish(node, creation(3, { epoch: 4 }))).toEqual(['SUCCESS']);
    expect(await finish(node, deletion(3, { epoch: 4 }))).toEqual(['SUCCESS']);
  });

  test('the highest epoch of one resource says nothing about another', async () => {
    expect(await finish(node, deletion(4, { epoch: 100 }))).toEqual(['SUCCESS']);
    expect(await finish(node, creation(5, { epoch: 1 }))).toEqual(['SUCCESS']);
  });

  test('a higher epoch waits for what runs; what had not started is superseded without effect', async () => {
    await setFault(node, { target: 'create-region', match: '/6/node-1@1#1', kind: FOR_EVER });
    await submit(node, creation(6, { epoch: 1 }));
    const queued = [deletion(6, { epoch: 1 }), creation(6, { epoch: 2, database: 'two' })];
    expect((await submit(node, queued[0]!)).map(say)).toEqual(['PROCESSING']);
    expect((await submit(node, queued[1]!)).map(say)).toEqual(['PROCESSING']);
    expect(say(await statusOf(node, queued[0]!))).toBe('FAIL(SUPERSEDED)');
    expect((await submit(node, deletion(6, { epoch: 3 }))).map(say)).toEqual(['PROCESSING']);
    expect(say(await statusOf(node, queued[1]!))).toBe('FAIL(SUPERSEDED)');
    expect(say(await statusOf(node, creation(6, { epoch: 1 })))).toBe('PROCESSING');
    await node.faults.clearFaults({});
    expect(await ended(node, deletion(6, { epoch: 3 }))).toBe('SUCCESS');
    const [first, last] = [
      await statusOf(node, creation(6)),
      await statusOf(node, deletion(6, { epoch: 3 })),
    ];
    expect(say(first)).toBe('SUCCESS');
    const at = (time?: { seconds: bigint; nanos: number }) => Number(time!.seconds) * 1e9 + time!.nanos;
    expect(at(first.ended)).toBeLessThanOrEqual(at(last.ended));
    expect(filesOf(node, 6)).toBeUndefined();
    expect([leftIn(node, 'staging'), leftIn(node, 'trash')]).toEqual([[], []]);
  });

  test('operations of one epoch run in the order of acceptance', async () => {
    await setFault(node, { target: 'create-region', match: '/7/', times: 1, kind: FOR_EVER });
    const order = [
      creation(7),
      deletion(7),
      creation(7, { attempt: 2, database: 'second' }),
      deletion(7, { attempt: 2 }),
      creation(7, { attempt: 3, database: 'third' }),
    ];
    for (const operation of order) await submit(node, operation);
    await node.faults.clearFaults({});
    // Were any two of them exchanged, one creation would find the region of another database.
    expect(await Promise.all(order.map((operation) => ended(node, operation)))).toEqual(
      Array(5).fill('SUCCESS'),
    );
    expect(filesOf(node, 7)).toEqual(ALL_FILES);
  });

  test('in one batch, a later entry of a higher epoch supersedes an earlier one, a lower one is stale', async () => {
    const batch = [
      creation(8, { epoch: 5 }),
      deletion(8, { epoch: 6 }),
      creation(8, { epoch: 5, attempt: 2 }),
    ];
    const answers = await submit(node, ...batch);
    expect(say(answers[0]!)).toBe('FAIL(SUPERSEDED)');
    expect(say(answers[2]!)).toBe('REFUSED(STALE_EPOCH)');
    expect(await ended(node, batch[1]!)).toBe('SUCCESS');
    expect(filesOf(node, 8)).toBeUndefined();
  });

  test('a resource that is held up does not hold up another', async () => {
    await setFault(node, { target: 'create-region', match: '/9/', kind: FOR_EVER });
    await submit(node, creation(9));
    expect(await finish(node, creation(10))).toEqual(['SUCCESS']);
    expect(say(await statusOf(node, creation(9)))).toBe('PROCESSING');
    await node.faults.clearFaults({});
    expect(await ended(node, creation(9))).toBe('SUCCESS');
  });

  test('epochs outlive the process, and are listed in pages in the order of the resource', async () => {
    await finish(node, deletion(11, { epoch: 9 }));
    await node.restart();
    expect(say((await submit(node, creation(11, { epoch: 8 })))[0]!)).toBe('REFUSED(STALE_EPOCH)');
    const all = (await node.inventory.listEpochs({ node: node.ref })).epochs;
    expect(all.find(({ resource }) => resource.endsWith('/11'))?.epoch).toBe(9n);
    const resources = all.map(({ resource }) => resource);
    expect(resources).toEqual([...resources].sort());
    const paged: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await node.inventory.listEpochs({ node: node.ref, pageSize: 3, pageToken });
      expect(page.epochs.length).toBeLessThanOrEqual(3);
      paged.push(...page.epochs.map(({ resource }) => resource));
      if (page.nextPageToken === '') break;
      pageToken = page.nextPageToken;
    }
    expect(paged).toEqual(resources);
  });
});
