import { randomUUID } from 'node:crypto';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { RegionKind } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { nodeForAllTests, startNode } from './node-process.js';
import {
  CATALOG,
  cancel,
  creation,
  deletion,
  ended,
  FOR_EVER,
  filesOf,
  finish,
  leftIn,
  listed,
  type Operation,
  say,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

/** What the call was refused with. */
async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error('the call was answered');
    },
    (error: unknown) => ConnectError.from(error),
  );
}

describe('bad input is refused as a whole and harms nothing else (I10)', () => {
  const node = nodeForAllTests();

  const good = creation(1);
  const region = { catalogId: CATALOG, groupId: 1n };
  const value = { region, database: 'db', kind: RegionKind.DATA, peers: ['node-1'] };
  const withValue = (changes: object): Operation => ({
    ...good,
    request: { case: 'createRegion', value: { ...value, ...changes } },
  });

  const malformed: [string, Operation][] = [
    ['an empty id', { ...good, operationId: '' }],
    ['an id of another form', { ...good, operationId: `create-region/${CATALOG}/1/node-1@1` }],
    ['an unknown verb', { ...good, operationId: good.operationId.replace('create-region', 'paint-region') }],
    ['a number with leading zeros', { ...good, operationId: good.operationId.replace('/1/', '/001/') }],
    ['an id that is too long', { ...good, operationId: good.operationId.replace('node-1', 'n'.repeat(600)) }],
    ['a creation on another node', creation(1, { nodeId: 'node-2' })],
    ['a deletion on another node', deletion(1, { nodeId: 'node-2' })],
    ['group id 0', creation(0)],
    ['attempt 0', creation(1, { attempt: 0 })],
    ['epoch 0', creation(1, { epoch: 0 })],
    ['an epoch that differs from its id', { ...good, epoch: 2n }],
    ['no request', { operationId: good.operationId, epoch: 1n }],
    ['a request of another verb', { ...good, request: deletion(1).request! }],
    ['a request for no region', withValue({ region: undefined })],
    ['a request for another group', withValue({ region: { ...region, groupId: 2n } })],
    ['a request for another catalog', withValue({ region: { ...region, catalogId: randomUUID() } })],
    ['a deletion of another group', { ...deletion(1), request: deletion(2).request! }],
    ['an empty database', withValue({ database: '' })],
    ['a database name that is too long', withValue({ database: 'd'.repeat(256) })],
    ['no kind', withValue({ kind: RegionKind.UNSPECIFIED })],
    ['an unknown kind', withValue({ kind: 17 })],
    ['no peers', withValue({ peers: [] })],
    ['peers without this node', withValue({ peers: ['node-2', 'node-3'] })],
    ['an empty peer', withValue({ peers: ['node-1', ''] })],
  ];

  test.each(malformed)('%s is refused, and the entries next to it are not', async (what, operation) => {
    const groupId = 100 + malformed.findIndex(([name]) => name === what);
    const answers = await submit(node, creation(groupId), operation, creation(groupId + 100));
    expect(answers[1]?.operationId).toBe(operation.operationId);
    expect(say(answers[1]!)).toBe('REFUSED(INVALID_ARGUMENT)');
    expect(answers[1]?.refusal?.message).not.toBe('');
    for (const neighbour of [creation(groupId), creation(groupId + 100)]) {
      expect(await ended(node, neighbour)).toBe('SUCCESS');
    }
    expect(filesOf(node, 1)).toBeUndefined();
  });

  test('what is refused leaves no epoch behind', async () => {
    await submit(node, { ...creation(2, { epoch: 50 }), request: deletion(2).request! });
    expect(await finish(node, creation(2, { epoch: 1 }))).toEqual(['SUCCESS']);
  });

  test('a call takes 250 operations, and is refused as a whole beyond', async () => {
    const operations = Array.from({ length: 251 }, (_, i) => creation(1000 + i));
    const operationIds = operations.map(({ operationId }) => operationId);
    const calls = [
      node.operations.submit({ node: node.ref, operations }),
      node.operations.get({ node: node.ref, operationIds }),
      node.operations.cancel({ node: node.ref, operationIds }),
    ];
    for (const { code } of await Promise.all(calls.map(errorOf))) expect(code).toBe(Code.InvalidArgument);
    expect(say(await statusOf(node, creation(1000)))).toBe('TASK_NOT_EXIST');
    const answers = await submit(node, ...operations.slice(0, 250));
    expect(answers.map(({ operationId }) => operationId)).toEqual(operationIds.slice(0, 250));
    expect(await ended(node, operations[249]!)).toBe('SUCCESS');
  });

  test('every call that names another node, another ledger, or none is refused, and says who was found', async () => {
    const strangers = [
      undefined,
      { nodeId: 'node-2', ledgerId: node.ledgerId },
      { nodeId: 'node-1', ledgerId: randomUUID() },
      { nodeId: 'node-1', ledgerId: '' },
    ];
    for (const stranger of strangers) {
      const ref = stranger === undefined ? {} : { node: stranger };
      const calls = [
        node.operations.submit({ ...ref, operations: [creation(3)] }),
        node.operations.get({ ...ref, operationIds: [] }),
        node.operations.cancel({ ...ref, operationIds: [] }),
        node.inventory.listRegions(ref),
        node.inventory.listEpochs(ref),
      ];
      for (const error of await Promise.all(calls.map(errorOf))) {
        expect(error.code).toBe(Code.FailedPrecondition);
        expect(error.message).toContain(`found node "node-1" with ledger "${node.ledgerId}"`);
      }
    }
    expect(say(await statusOf(node, creation(3)))).toBe('TASK_NOT_EXIST');
  });

  test('a page token or size that makes no sense is refused', async () => {
    for (const page of [{ pageSize: 1001 }, { pageToken: 'junk' }]) {
      expect((await errorOf(node.inventory.listRegions({ node: node.ref, ...page }))).code).toBe(
        Code.InvalidArgument,
      );
    }
    const tooLong = node.inventory.listEpochs({ node: node.ref, pageToken: 'x'.repeat(3000) });
    expect((await errorOf(tooLong)).code).toBe(Code.InvalidArgument);
  });
});

describe('back-pressure', () => {
  test('beyond --max-pending only what is not known yet is refused, with a delay', async () => {
    const node = await startNode({ flags: ['--max-pending', '3'] });
    try {
      await setFault(node, { target: 'create-region', kind: FOR_EVER });
      const answers = await submit(node, creation(1), creation(2), creation(3), creation(4), creation(1));
      expect(answers.map(say)).toEqual([
        'PROCESSING',
        'PROCESSING',
        'PROCESSING',
        'REFUSED(RESOURCE_EXHAUSTED)',
        'PROCESSING',
      ]);
      expect(durationMs(answers[3]!.refusal!.retryAfter!)).toBeGreaterThan(0);
      expect(say(await statusOf(node, creation(4)))).toBe('TASK_NOT_EXIST');
      await node.faults.clearFaults({});
      expect(await Promise.all([1, 2, 3].map((id) => ended(node, creation(id))))).toEqual(
        Array(3).fill('SUCCESS'),
      );
      expect(await finish(node, creation(4))).toEqual(['SUCCESS']);
    } finally {
      await node.end();
    }
  });

  test('what is refused for want of room raises no epoch', async () => {
    const node = await startNode({ flags: ['--max-pending', '1'] });
    try {
      await setFault(node, { target: 'create-region', match: '/1/', kind: FOR_EVER });
      await submit(node, creation(1));
      expect((await submit(node, deletion(2, { epoch: 9 }))).map(say)).toEqual([
        'REFUSED(RESOURCE_EXHAUSTED)',
      ]);
      await node.faults.clearFaults({});
      await ended(node, creation(1));
      expect(await finish(node, creation(2, { epoch: 3 }))).toEqual(['SUCCESS']);
    } finally {
      await node.end();
    }
  });
});

describe('Cancel', () => {
  const node = nodeForAllTests();

  test('a running creation ends as FAIL(CANCELED) and leaves nothing', async () => {
    await setFault(node, { target: 'create-region', match: '/1/', times: 1, kind: FOR_EVER });
    await submit(node, creation(1));
    await cancel(node, creation(1));
    expect(await ended(node, creation(1))).toBe('FAIL(CANCELED)');
    expect([filesOf(node, 1), leftIn(node, 'staging')]).toEqual([undefined, []]);
    expect(await listed(node)).toEqual([]);
    expect(await finish(node, creation(1, { attempt: 2 }))).toEqual(['SUCCESS']);
  });

  test('a queued creation ends as FAIL(CANCELED) and never starts', async () => {
    await setFault(node, { target: 'create-region', match: '/2/', times: 1, kind: FOR_EVER });
    const queued = creation(2, { attempt: 2, database: 'other' });
    await submit(node, creation(2), queued);
    expect(await cancel(node, queued)).toBe('FAIL(CANCELED)');
    await node.faults.clearFaults({});
    expect(await ended(node, creation(2))).toBe('SUCCESS');
    expect(await finish(node, deletion(2))).toEqual(['SUCCESS']);
    expect(filesOf(node, 2)).toBeUndefined();
    expect(say(await statusOf(node, queued))).toBe('FAIL(CANCELED)');
  });

  test('deletions ignore it, running or queued', async () => {
    await finish(node, creation(3));
    await setFault(node, { target: 'delete-region', match: '/3/', times: 1, kind: FOR_EVER });
    const [running, queued] = [deletion(3), deletion(3, { attempt: 2 })];
    await submit(node, running, queued);
    expect([await cancel(node, running), await cancel(node, queued)]).toEqual(['PROCESSING', 'PROCESSING']);
    await node.faults.clearFaults({});
    expect([await ended(node, running), await ended(node, queued)]).toEqual(['SUCCESS', 'SUCCESS']);
  });

  test('what is over stays as it ended, and what is unknown stays unknown', async () => {
    await finish(node, creation(4));
    expect(await cancel(node, creation(4))).toBe('SUCCESS');
    expect(await cancel(node, creation(5))).toBe('TASK_NOT_EXIST');
    expect(await finish(node, creation(5))).toEqual(['SUCCESS']);
  });
});
