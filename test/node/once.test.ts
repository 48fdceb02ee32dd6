import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { OperationState, RegionKind } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { connect, nodeForAllTests } from './node-process.js';
import {
  ALL_FILES,
  creation,
  deletion,
  directoryOf,
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

describe('one operation id takes effect once (I2) and its end is final (I3)', () => {
  const node = nodeForAllTests();

  /** A fault that does nothing but count the effects that begin. */
  async function countEffects(target: string, match: string): Promise<() => Promise<number>> {
    await setFault(node, { target, match, times: 1000, kind: { case: 'delay', value: {} } });
    return async () => {
      const { faults } = await node.faults.listFaults({});
      return 1000 - faults.find((fault) => fault.target === target && fault.match === match)!.times;
    };
  }

  test('a duplicate of what runs joins it', async () => {
    const operation = creation(1);
    const effects = await countEffects('create-region', operation.operationId);
    await setFault(node, { target: 'create-region', match: operation.operationId, kind: FOR_EVER });
    const [first] = await submit(node, operation);
    const [second] = await submit(node, operation);
    expect([say(first!), say(second!)]).toEqual(['PROCESSING', 'PROCESSING']);
    expect(second?.started).toEqual(first?.started);
    expect(await effects()).toBe(1);
    await node.faults.clearFaults({});
    expect(await ended(node, operation)).toBe('SUCCESS');
  });

  test('a duplicate of what succeeded gets the recorded end, and the region is not touched', async () => {
    const operation = creation(2);
    expect(await finish(node, operation)).toEqual(['SUCCESS']);
    const before = { status: await statusOf(node, operation), inode: statSync(directoryOf(node, 2)).ino };
    const effects = await countEffects('create-region', operation.operationId);
    const [again] = await submit(node, operation);
    expect(again).toEqual(before.status);
    expect(await effects()).toBe(0);
    expect(statSync(directoryOf(node, 2)).ino).toBe(before.inode);
  });

  test('what succeeded is not done again even when its effect was undone by hand', async () => {
    const operation = creation(3);
    await finish(node, operation);
    expect(await finish(node, deletion(3))).toEqual(['SUCCESS']);
    expect(say((await submit(node, operation))[0]!)).toBe('SUCCESS');
    expect(filesOf(node, 3)).toBeUndefined();
  });

  test('FAIL stays FAIL, and only a new attempt runs again', async () => {
    const operation = creation(4);
    const fail = { case: 'fail', value: { message: 'no luck' } } as const;
    await setFault(node, { target: 'create-region', match: operation.operationId, times: 1, kind: fail });
    expect(await finish(node, operation)).toEqual(['FAIL(INTERNAL)']);
    const before = await statusOf(node, operation);
    expect(before.error?.message).toBe('no luck');
    expect((await submit(node, operation))[0]).toEqual(before);
    expect(filesOf(node, 4)).toBeUndefined();
    expect(await finish(node, creation(4, { attempt: 2 }))).toEqual(['SUCCESS']);
    expect((await submit(node, operation))[0]).toEqual(before);
  });

  test('50 concurrent submits of one creation, from several connections, run one effect', async () => {
    const operation = creation(5);
    const effects = await countEffects('create-region', operation.operationId);
    const connections = Array.from({ length: 5 }, () => connect(node.url).operations);
    const request = { node: node.ref, operations: [operation, operation] };
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => (await connections[i % 5]!.submit(request)).statuses),
    );
    for (const status of answers.flat()) {
      expect([OperationState.PROCESSING, OperationState.SUCCESS]).toContain(status.state);
    }
    expect(await ended(node, operation)).toBe('SUCCESS');
    expect(await effects()).toBe(1);
    expect(filesOf(node, 5)).toEqual(ALL_FILES);
    expect(leftIn(node, 'staging')).toEqual([]);
  });

  test('50 concurrent submits of one deletion run one effect', async () => {
    const operation = deletion(5, { epoch: 2 });
    const effects = await countEffects('delete-region', operation.operationId);
    await Promise.all(Array.from({ length: 50 }, () => submit(node, operation)));
    expect(await ended(node, operation)).toBe('SUCCESS');
    expect(await effects()).toBe(1);
  });

  test.each([
    ['database', creation(6, { database: 'other' })],
    ['kind', creation(6, { kind: RegionKind.SCHEMA })],
  ])('the same id with another %s is refused, before and after its end', async (_what, other) => {
    const operation = creation(6);
    await setFault(node, { target: 'create-region', match: '/6/', times: 1, kind: FOR_EVER });
    await submit(node, operation);
    expect(say((await submit(node, other))[0]!)).toBe('REFUSED(INVALID_ARGUMENT)');
    await node.faults.clearFaults({});
    expect(await ended(node, operation)).toBe('SUCCESS');
    expect(say((await submit(node, other))[0]!)).toBe('REFUSED(INVALID_ARGUMENT)');
    expect(await ended(node, operation)).toBe('SUCCESS');
  });

  test('two entries of one id in a batch join; with different requests the second is refused', async () => {
    const answers = await submit(node, creation(7), creation(7), creation(7, { database: 'other' }));
    expect(answers.map(({ operationId }) => operationId)).toEqual(Array(3).fill(creation(7).operationId));
    expect(say(answers[2]!)).toBe('REFUSED(INVALID_ARGUMENT)');
    expect(answers[1]).toEqual(answers[0]);
    expect(await ended(node, creation(7))).toBe('SUCCESS');
  });

  test('an operation that was never submitted is TASK_NOT_EXIST, whatever its id looks like', async () => {
    const operationIds = [creation(8).operationId, '', 'junk', 'x'.repeat(5000)];
    const { statuses } = await node.operations.get({ node: node.ref, operationIds });
    expect(statuses.map(say)).toEqual(Array(4).fill('TASK_NOT_EXIST'));
    expect(filesOf(node, 8)).toBeUndefined();
  });
});
