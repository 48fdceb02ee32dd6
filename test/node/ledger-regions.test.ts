import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RegionKind } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { nodeForEachTest } from './node-process.js';
import {
  cancel,
  creation,
  deletion,
  ended,
  FOR_EVER,
  finish,
  listed,
  say,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

const node = nodeForEachTest({ flags: ['--regions', 'ledger'] });

test('a region is an entry of the ledger, and no file', async () => {
  expect(await finish(node, creation(2), creation(10), creation(1))).toEqual(Array(3).fill('SUCCESS'));
  expect(await listed(node)).toEqual(['1:PRESENT@1', '2:PRESENT@1', '10:PRESENT@1']);
  expect(existsSync(join(node.data, 'regions'))).toBe(false);
  expect(await finish(node, deletion(2), deletion(3))).toEqual(['SUCCESS', 'SUCCESS']);
  expect(await listed(node)).toEqual(['1:PRESENT@1', '10:PRESENT@1']);
  const page = await node.inventory.listRegions({ node: node.ref, pageSize: 1 });
  const rest = await node.inventory.listRegions({ node: node.ref, pageToken: page.nextPageToken });
  expect([page, rest].map(({ regions }) => regions.map(({ region }) => region?.groupId))).toEqual([
    [1n],
    [10n],
  ]);
  expect(rest.nextPageToken).toBe('');
});

test('the rules are those of regions on disk', async () => {
  expect(await finish(node, creation(1))).toEqual(['SUCCESS']);
  const others = [creation(1, { attempt: 2 }), creation(1, { attempt: 3, kind: RegionKind.SCHEMA })];
  expect(await finish(node, ...others)).toEqual(['SUCCESS', 'FAIL(ALREADY_EXISTS)']);
  expect(await finish(node, deletion(1, { epoch: 2 }))).toEqual(['SUCCESS']);
  expect((await submit(node, creation(1, { epoch: 1 }))).map(say)).toEqual(['REFUSED(STALE_EPOCH)']);
  await setFault(node, { target: 'create-region', kind: FOR_EVER });
  await submit(node, creation(2));
  await cancel(node, creation(2));
  expect(await ended(node, creation(2))).toBe('FAIL(CANCELED)');
  expect(await listed(node)).toEqual([]);
});

test('a SIGKILL loses nothing', async () => {
  await finish(node, creation(1), creation(2));
  await setFault(node, { target: 'delete-region', kind: FOR_EVER });
  await submit(node, deletion(1));
  await node.kill();
  await node.restart();
  expect(await ended(node, deletion(1))).toBe('SUCCESS');
  expect(say(await statusOf(node, creation(2)))).toBe('SUCCESS');
  expect(await listed(node)).toEqual(['2:PRESENT@1']);
});
