import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  Code,
  ConnectError,
  createContextValues,
  type UnaryRequest,
  type UnaryResponse,
} from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { faultInterceptor } from '../../src/node/fault-interceptor.js';
import { Faults } from '../../src/node/faults.js';
import { FaultSchema } from '../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { OperationService, SubmitRequestSchema } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { RPC_TARGETS } from '../../src/rpc/worker-contract.js';
import { eventually } from '../support/eventually.js';
import { connect, nodeForEachTest, startNode } from './node-process.js';
import {
  ALL_FILES,
  creation,
  deletion,
  ended,
  FOR_EVER,
  filesOf,
  finish,
  listed,
  say,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

const node = nodeForEachTest();

type FaultKind = MessageInitShape<typeof FaultSchema>['kind'] & {};

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'answered',
    (error: unknown) => Code[ConnectError.from(error).code],
  );
}

async function struck(): Promise<void> {
  await eventually(
    'the fault has struck',
    async () => (await node.faults.listFaults({})).faults.length === 0,
  );
}

describe('faults of calls', () => {
  test('delay: the call is handled later, and ClearFaults cuts the delay short', async () => {
    await setFault(node, { target: 'Submit', times: 1, kind: FOR_EVER });
    const call = submit(node, creation(1));
    await struck();
    expect(say(await statusOf(node, creation(1)))).toBe('TASK_NOT_EXIST');
    await node.faults.clearFaults({});
    expect((await call).map(({ operationId }) => operationId)).toEqual([creation(1).operationId]);
    expect(await ended(node, creation(1))).toBe('SUCCESS');
  });

  test('delay: the call is handled even when its caller has given up, as one that was late in the network', async () => {
    await setFault(node, { target: 'Submit', times: 2, kind: FOR_EVER });
    const late = [creation(1), creation(2)].map((operation) =>
      codeOf(node.operations.submit({ node: node.ref, operations: [operation] }, { timeoutMs: 100 })),
    );
    expect(await Promise.all(late)).toEqual(['DeadlineExceeded', 'DeadlineExceeded']);
    expect(say(await statusOf(node, creation(1)))).toBe('TASK_NOT_EXIST');
    expect(await finish(node, deletion(2, { epoch: 2 }))).toEqual(['SUCCESS']);
    await node.faults.clearFaults({});
    await eventually('region 1 is made', () => filesOf(node, 1) !== undefined);
    // I9: by then this one was in the past.
    expect(say(await statusOf(node, creation(2)))).toBe('TASK_NOT_EXIST');
    expect(filesOf(node, 2)).toBeUndefined();
  });

  test('error: the call is not handled and answers the code, as often as the fault says', async () => {
    await setFault(node, {
      target: 'Submit',
      times: 2,
      kind: { case: 'error', value: 'resource_exhausted' },
    });
    expect(await codeOf(submit(node, creation(1)))).toBe('ResourceExhausted');
    expect((await node.faults.listFaults({})).faults.map(({ times }) => times)).toEqual([1]);
    expect(await codeOf(submit(node, creation(1)))).toBe('ResourceExhausted');
    expect(say(await statusOf(node, creation(1)))).toBe('TASK_NOT_EXIST');
    expect(await codeOf(submit(node, creation(1)))).toBe('answered');
  });

  test('drop_reply: the call is handled, its stream is torn down, the calls next to it go on', async () => {
    await setFault(node, { target: 'ListEpochs', match: '', times: 1, kind: FOR_EVER });
    const neighbour = node.inventory.listEpochs({ node: node.ref });
    await struck();
    await setFault(node, { target: 'Submit', times: 1, kind: { case: 'dropReply', value: true } });
    expect(await codeOf(submit(node, creation(1)))).toBe('Internal');
    expect(await ended(node, creation(1))).toBe('SUCCESS');
    await node.faults.clearFaults({});
    expect((await neighbour).epochs).toHaveLength(1);
    expect((await submit(node, creation(1))).map(say)).toEqual(['SUCCESS']);
  });

  test('drop_request: the call is never handled, neither after its caller gave up nor after ClearFaults', async () => {
    await setFault(node, { target: 'Submit', kind: { case: 'dropRequest', value: true } });
    const givenUp = node.operations.submit({ node: node.ref, operations: [creation(1)] }, { timeoutMs: 100 });
    expect(await codeOf(givenUp)).toBe('DeadlineExceeded');
    await node.faults.clearFaults({});
    await setFault(node, { target: 'Submit', times: 1, kind: { case: 'dropRequest', value: true } });
    const call = codeOf(submit(node, creation(2)));
    await struck();
    await node.faults.clearFaults({});
    expect(await call).toBe('Unavailable');
    expect(await finish(node, creation(3))).toEqual(['SUCCESS']);
    for (const id of [1, 2]) expect(say(await statusOf(node, creation(id)))).toBe('TASK_NOT_EXIST');
  });

  test('duplicate: the call is handled twice, and one effect comes of it', async () => {
    await setFault(node, { target: 'Submit', times: 1, kind: { case: 'duplicate', value: true } });
    await setFault(node, { target: 'create-region', times: 5, kind: { case: 'delay', value: {} } });
    expect(['PROCESSING', 'SUCCESS']).toContain(say((await submit(node, creation(1)))[0]!));
    expect(await ended(node, creation(1))).toBe('SUCCESS');
    expect((await node.faults.listFaults({})).faults.map(({ times }) => times)).toEqual([4]);
  });

  test('busy: what is not known yet is refused with the delay, what is known is answered', async () => {
    await finish(node, creation(1));
    await setFault(node, { target: 'Submit', kind: { case: 'busy', value: { seconds: 7n } } });
    const answers = await submit(node, creation(1), creation(2), { ...creation(3), operationId: 'junk' });
    expect(answers.map(say)).toEqual(['SUCCESS', 'REFUSED(RESOURCE_EXHAUSTED)', 'REFUSED(INVALID_ARGUMENT)']);
    expect(durationMs(answers[1]!.refusal!.retryAfter!)).toBe(7000);
    await node.faults.clearFaults({});
    expect(await finish(node, creation(2))).toEqual(['SUCCESS']);
  });

  test('match: only calls that hold such an operation are struck', async () => {
    for (const target of ['Submit', 'Get', 'Cancel', 'ListRegions']) {
      await setFault(node, { target, match: '/7/', kind: { case: 'error', value: 'unavailable' } });
    }
    const cancel = (groupId: number) =>
      node.operations.cancel({ node: node.ref, operationIds: [creation(groupId).operationId] });
    expect(await codeOf(submit(node, creation(1)))).toBe('answered');
    expect(await codeOf(submit(node, creation(1), creation(7)))).toBe('Unavailable');
    expect(await codeOf(statusOf(node, creation(1)))).toBe('answered');
    expect(await codeOf(statusOf(node, creation(7)))).toBe('Unavailable');
    expect([await codeOf(cancel(1)), await codeOf(cancel(7))]).toEqual(['answered', 'Unavailable']);
    expect(await codeOf(listed(node))).toBe('answered');
  });

  test('faults of one target apply in the order in which they were set', async () => {
    for (const value of ['unavailable', 'aborted']) {
      await setFault(node, { target: 'Get', times: 1, kind: { case: 'error', value } });
    }
    expect(await codeOf(statusOf(node, creation(1)))).toBe('Unavailable');
    expect(await codeOf(statusOf(node, creation(1)))).toBe('Aborted');
    expect(await codeOf(statusOf(node, creation(1)))).toBe('answered');
  });
});

describe('every call of the contract, but for GetNodeInfo,', () => {
  /** Names the node, and asks for nothing in particular. */
  const call = (rpc: string, timeoutMs?: number): Promise<string> => {
    const clients: object = { ...node.operations, ...node.inventory };
    const method = `${rpc[0]!.toLowerCase()}${rpc.slice(1)}` as keyof typeof clients;
    const ask: (request: object, options: object) => Promise<unknown> = clients[method];
    return codeOf(ask({ node: node.ref }, timeoutMs === undefined ? {} : { timeoutMs }));
  };

  test('can be disturbed in every way', async () => {
    const undisturbed: string[] = [];
    for (const target of RPC_TARGETS) {
      const answer = await call(target);
      const disturb = (kind: FaultKind) => setFault(node, { target, times: 1, kind });
      await disturb({ case: 'error', value: 'data_loss' });
      if ((await call(target)) !== 'DataLoss') undisturbed.push(`${target} error`);
      await disturb({ case: 'dropReply', value: true });
      if ((await call(target)) !== 'Internal') undisturbed.push(`${target} drop_reply`);
      await disturb({ case: 'dropRequest', value: true });
      if ((await call(target, 50)) !== 'DeadlineExceeded') undisturbed.push(`${target} drop_request`);
      await disturb(FOR_EVER);
      const late = call(target);
      await struck();
      await node.faults.clearFaults({});
      if ((await late) !== answer) undisturbed.push(`${target} delay`);
      await disturb({ case: 'duplicate', value: true });
      if ((await call(target)) !== answer) undisturbed.push(`${target} duplicate`);
      await struck();
    }
    expect(undisturbed).toEqual([]);
  });
});

describe('faults of effects', () => {
  test('fail: the effect is not done, unless the fault says after_effect', async () => {
    const fail = (afterEffect: boolean) =>
      ({ case: 'fail', value: { message: 'as you wish', afterEffect } }) as const;
    await setFault(node, { target: 'create-region', times: 1, kind: fail(false) });
    expect(await finish(node, creation(1))).toEqual(['FAIL(INTERNAL)']);
    expect(filesOf(node, 1)).toBeUndefined();
    await setFault(node, { target: 'create-region', times: 1, kind: fail(true) });
    expect(await finish(node, creation(1, { attempt: 2 }))).toEqual(['FAIL(INTERNAL)']);
    expect((await statusOf(node, creation(1, { attempt: 2 }))).error?.message).toBe('as you wish');
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
    await setFault(node, { target: 'delete-region', times: 1, kind: fail(false) });
    expect(await finish(node, deletion(1))).toEqual(['FAIL(INTERNAL)']);
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
    await setFault(node, { target: 'delete-region', times: 1, kind: fail(true) });
    expect(await finish(node, deletion(1, { attempt: 2 }))).toEqual(['FAIL(INTERNAL)']);
    expect(filesOf(node, 1)).toBeUndefined();
    expect(await finish(node, deletion(1, { attempt: 3 }))).toEqual(['SUCCESS']);
  });

  test('match and times: only the operations meant, only as often', async () => {
    const kind = { case: 'fail', value: { message: '' } } as const;
    await setFault(node, { target: 'create-region', match: '/2/', times: 1, kind });
    expect(await finish(node, creation(1), creation(2))).toEqual(['SUCCESS', 'FAIL(INTERNAL)']);
    expect(await finish(node, creation(2, { attempt: 2 }))).toEqual(['SUCCESS']);
  });

  test('delay, then fail: both apply', async () => {
    await setFault(node, { target: 'create-region', times: 1, kind: FOR_EVER });
    await setFault(node, {
      target: 'create-region',
      times: 1,
      kind: { case: 'fail', value: { message: 'no' } },
    });
    await submit(node, creation(1));
    await struck();
    expect(say(await statusOf(node, creation(1)))).toBe('PROCESSING');
    await node.faults.clearFaults({});
    expect(await ended(node, creation(1))).toBe('FAIL(INTERNAL)');
  });
});

describe('FaultService', () => {
  test.each([
    ['an unknown target', { target: 'Register', kind: FOR_EVER }],
    ['GetNodeInfo', { target: 'GetNodeInfo', kind: FOR_EVER }],
    ['no kind', { target: 'Submit' }],
    ['busy for another call than Submit', { target: 'Get', kind: { case: 'busy', value: { seconds: 1n } } }],
    ['fail for a call', { target: 'Submit', kind: { case: 'fail', value: { message: '' } } }],
    ['drop_reply for an effect', { target: 'create-region', kind: { case: 'dropReply', value: true } }],
    ['a switch that is off', { target: 'Submit', kind: { case: 'dropReply', value: false } }],
    ['an unknown code', { target: 'Submit', kind: { case: 'error', value: 'sorry' } }],
    ['a negative delay', { target: 'Submit', kind: { case: 'delay', value: { seconds: -1n } } }],
  ] as const)('refuses %s', async (_what, fault) => {
    expect(await codeOf(node.faults.setFault({ fault }))).toBe('InvalidArgument');
    expect((await node.faults.listFaults({})).faults).toEqual([]);
  });

  test('is not there without --allow-faults, and not told as a capability', async () => {
    expect((await node.info.getNodeInfo({})).capabilities).toEqual(['regions', 'faults']);
    const plain = await startNode({ id: 'plain', allowFaults: false });
    try {
      expect((await plain.info.getNodeInfo({})).capabilities).toEqual(['regions']);
      const { faults } = connect(plain.url);
      for (const call of [faults.setFault({}), faults.clearFaults({}), faults.listFaults({})]) {
        expect(await codeOf(call)).toBe('Unimplemented');
      }
    } finally {
      await plain.end();
    }
  });
});

test('clearing lets go of what was struck and had not begun to wait', async () => {
  const faults = new Faults();
  faults.set(create(FaultSchema, { target: 'create-region', kind: FOR_EVER }));
  const { delayMs, cleared } = faults.strikeEffect('create-region', creation(1).operationId);
  faults.clear();
  await faults.hold(delayMs, undefined, cleared);
});

test('the interceptor handles a duplicated call twice at the same time and answers the second', async () => {
  const faults = new Faults();
  faults.set(create(FaultSchema, { target: 'Submit', times: 1, kind: { case: 'duplicate', value: true } }));
  const begun: number[] = [];
  const waiting: (() => void)[] = [];
  const handle = faultInterceptor(faults)(async () => {
    const call = begun.push(begun.length);
    await new Promise<void>((resolve) => waiting.push(resolve));
    return { call } as unknown as UnaryResponse;
  });
  const request = {
    stream: false,
    service: OperationService,
    method: OperationService.method.submit,
    message: create(SubmitRequestSchema),
    contextValues: createContextValues(),
  } as unknown as UnaryRequest;
  const answer = handle(request);
  await eventually('both are under way', () => waiting.length === 2);
  for (const go of waiting) go();
  expect(await answer).toEqual({ call: 2 });
});
