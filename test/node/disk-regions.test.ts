import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RegionInfo_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { OperationState, RegionKind } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { eventually } from '../support/eventually.js';
import { nodeForAllTests } from './node-process.js';
import {
  ALL_FILES,
  CATALOG,
  creation,
  deletion,
  directoryOf,
  ended,
  FOR_EVER,
  filesOf,
  finish,
  leftIn,
  listed,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

describe('a region on disk', () => {
  const node = nodeForAllTests();

  test('is made whole: what it is, its peer, its data files', async () => {
    expect(await finish(node, creation(1, { kind: RegionKind.SCHEMA }))).toEqual(['SUCCESS']);
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
    const read = (file: string) => JSON.parse(readFileSync(join(directoryOf(node, 1), file), 'utf8'));
    expect(read('region.json')).toEqual({ catalogId: CATALOG, groupId: 1, database: 'db', kind: 'SCHEMA' });
    expect(read('peer.json')).toEqual({ peers: ['node-1', 'node-2', 'node-3'] });
    expect(readFileSync(join(directoryOf(node, 1), 'data-0001')).length).toBe(1024);
    expect((await statusOf(node, creation(1, { kind: RegionKind.SCHEMA }))).progress).toMatchObject({
      done: 10n,
      total: 10n,
    });
  });

  test('cannot be seen before it is whole', async () => {
    await setFault(node, { target: 'create-region', match: '/2/', times: 1, kind: FOR_EVER });
    await submit(node, creation(2));
    await eventually('all files are staged', () => leftIn(node, 'staging').length === 1 + ALL_FILES.length);
    expect(filesOf(node, 2)).toBeUndefined();
    expect(await listed(node)).not.toContain('2:PRESENT@1');
    await node.faults.clearFaults({});
    expect(await ended(node, creation(2))).toBe('SUCCESS');
    expect([filesOf(node, 2), leftIn(node, 'staging')]).toEqual([ALL_FILES, []]);
  });

  test('that exists as asked is SUCCESS, and one that exists otherwise is FAIL(ALREADY_EXISTS)', async () => {
    await finish(node, creation(3));
    writeFileSync(join(directoryOf(node, 3), 'data-0001'), 'precious');
    expect(await finish(node, creation(3, { attempt: 2 }))).toEqual(['SUCCESS']);
    const others = [
      creation(3, { attempt: 3, database: 'other' }),
      creation(3, { attempt: 4, kind: RegionKind.SCHEMA }),
    ];
    expect(await finish(node, ...others)).toEqual(['FAIL(ALREADY_EXISTS)', 'FAIL(ALREADY_EXISTS)']);
    expect(readFileSync(join(directoryOf(node, 3), 'data-0001'), 'utf8')).toBe('precious');
  });

  test('is deleted without a rest; deleting what is absent is SUCCESS', async () => {
    await finish(node, creation(4));
    mkdirSync(join(directoryOf(node, 4), 'deep/er'), { recursive: true });
    writeFileSync(join(directoryOf(node, 4), 'deep/er/file'), 'x');
    expect(await finish(node, deletion(4))).toEqual(['SUCCESS']);
    expect([filesOf(node, 4), leftIn(node, 'trash')]).toEqual([undefined, []]);
    expect((await statusOf(node, deletion(4))).progress).toMatchObject({ done: 10n, total: 10n });
    expect(await finish(node, deletion(4, { attempt: 2 }), deletion(5))).toEqual(['SUCCESS', 'SUCCESS']);
  });

  test('whose peer cannot be removed keeps its data: FAIL(PEER_REMOVAL_FAILED)', async () => {
    await finish(node, creation(6));
    const peer = join(directoryOf(node, 6), 'peer.json');
    rmSync(peer);
    mkdirSync(join(peer, 'in-the-way'), { recursive: true });
    expect(await finish(node, deletion(6))).toEqual(['FAIL(PEER_REMOVAL_FAILED)']);
    expect((await statusOf(node, deletion(6))).error?.message).toContain(peer);
    expect([filesOf(node, 6), leftIn(node, 'trash')]).toEqual([ALL_FILES, []]);
    rmSync(peer, { recursive: true });
    expect(await finish(node, deletion(6, { attempt: 2 }))).toEqual(['SUCCESS']);
    expect(filesOf(node, 6)).toBeUndefined();
  });

  test('whose data cannot be removed is FAIL(IO), is listed as DELETING, and a new attempt goes on', async () => {
    await finish(node, creation(7));
    const trash = join(node.data, 'trash', CATALOG);
    writeFileSync(trash, 'a file in the way of the directory');
    expect(await finish(node, deletion(7))).toEqual(['FAIL(IO)']);
    expect(filesOf(node, 7)).toEqual(ALL_FILES.filter((file) => file !== 'peer.json'));
    expect(await listed(node)).toContain('7:DELETING@1');
    rmSync(trash);
    expect(await finish(node, deletion(7, { attempt: 2 }))).toEqual(['SUCCESS']);
    expect([filesOf(node, 7), leftIn(node, 'trash')]).toEqual([undefined, []]);
  });

  test('gets its peer back when it is created again after a deletion that failed half-way', async () => {
    await finish(node, creation(8));
    rmSync(join(directoryOf(node, 8), 'peer.json'));
    expect(await finish(node, creation(8, { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(filesOf(node, 8)).toEqual(ALL_FILES);
    expect(await listed(node)).toContain('8:PRESENT@2');
  });

  test('that cannot be written is FAIL(IO) and leaves nothing', async () => {
    const catalogId = randomUUID();
    writeFileSync(join(node.data, 'regions', catalogId), 'a file in the way of the directory');
    expect(await finish(node, creation(9, { catalogId }))).toEqual(['FAIL(IO)']);
    expect(leftIn(node, 'staging')).toEqual([]);
    rmSync(join(node.data, 'regions', catalogId));
    expect(await finish(node, creation(9, { catalogId, attempt: 2 }))).toEqual(['SUCCESS']);
  });

  test('is deleted file by file, and its progress never steps back', async () => {
    await finish(node, creation(10));
    await node.restart('--delete-file-ms', '20');
    await submit(node, deletion(10));
    const seen: bigint[] = [];
    await eventually('the deletion is over', async () => {
      const { state, progress } = await statusOf(node, deletion(10));
      if (progress !== undefined && progress.total > 0n) expect(progress.total).toBe(9n);
      seen.push(progress?.done ?? 0n);
      return state === OperationState.SUCCESS;
    });
    expect(seen).toEqual([...seen].sort((a, b) => Number(a - b)));
    expect(new Set(seen).size).toBeGreaterThan(3);
    expect(seen.at(-1)).toBe(9n);
    await node.restart('--delete-file-ms', '0');
  });
});

describe('the inventory', () => {
  const node = nodeForAllTests();

  test('tells what is on disk: planted by hand with epoch 0, deleted by hand not at all', async () => {
    await finish(node, creation(1, { epoch: 3 }), creation(2));
    const planted = directoryOf(node, 30);
    mkdirSync(planted, { recursive: true });
    writeFileSync(join(planted, 'region.json'), JSON.stringify({ database: 'planted', kind: 'SCHEMA' }));
    writeFileSync(join(planted, 'peer.json'), '{}');
    mkdirSync(directoryOf(node, 4));
    rmSync(directoryOf(node, 2), { recursive: true });
    expect(await listed(node)).toEqual(['1:PRESENT@3', '4:PRESENT@0', '30:PRESENT@0']);
    const { regions } = await node.inventory.listRegions({ node: node.ref });
    expect(regions[0]).toMatchObject({ database: 'db', kind: RegionKind.DATA });
    expect(regions[0]!.sizeBytes).toBeGreaterThan(8n * 1024n);
    expect(regions[1]).toMatchObject({ database: '', kind: RegionKind.UNSPECIFIED });
    expect(regions[2]).toMatchObject({ database: 'planted', kind: RegionKind.SCHEMA });
    expect(await finish(node, deletion(30), deletion(4))).toEqual(['SUCCESS', 'SUCCESS']);
    expect(await listed(node)).toEqual(['1:PRESENT@3']);
  });

  test('lists a region whose deletion has begun as DELETING, and still knows what it was', async () => {
    await finish(node, creation(5));
    await setFault(node, { target: 'delete-region', match: '/5/', times: 1, kind: FOR_EVER });
    await submit(node, deletion(5, { epoch: 2 }));
    const info = await eventually('region 5 is in the trash', async () => {
      const { regions } = await node.inventory.listRegions({ node: node.ref });
      return regions.find(
        ({ region, state }) => region?.groupId === 5n && state === RegionInfo_State.DELETING,
      );
    });
    expect(info).toMatchObject({ database: 'db', kind: RegionKind.DATA, epoch: 2n });
    expect(existsSync(directoryOf(node, 5))).toBe(false);
    await node.faults.clearFaults({});
    expect(await ended(node, deletion(5, { epoch: 2 }))).toBe('SUCCESS');
    expect(await listed(node)).not.toContain('5:DELETING@2');
  });

  test('ignores files and directories that are no regions', async () => {
    const before = await listed(node);
    for (const name of ['README', 'not-a-catalog', `${CATALOG}/x`, `${CATALOG}/007`, `${CATALOG}/0`]) {
      mkdirSync(join(node.data, 'regions', name), { recursive: true });
    }
    writeFileSync(join(node.data, 'regions', CATALOG, '99'), 'a file');
    expect(await listed(node)).toEqual(before);
  });

  test('is paged in the order of (catalog id, group id), and can be asked for one catalog', async () => {
    const [first, second] = [randomUUID(), randomUUID()].sort() as [string, string];
    const groups = [2, 10, 9, 1];
    for (const catalogId of [second, first]) {
      await finish(node, ...groups.map((groupId) => creation(groupId, { catalogId })));
    }
    const pages = async (catalogId: string): Promise<string[]> => {
      const names: string[] = [];
      for (let pageToken = ''; ; ) {
        const page = await node.inventory.listRegions({ node: node.ref, pageSize: 3, pageToken, catalogId });
        expect(page.regions.length).toBeLessThanOrEqual(3);
        names.push(...page.regions.map(({ region }) => `${region?.catalogId}/${region?.groupId}`));
        if (page.nextPageToken === '') return names;
        pageToken = page.nextPageToken;
      }
    };
    const inOrder = (catalogId: string) => [1, 2, 9, 10].map((groupId) => `${catalogId}/${groupId}`);
    expect(await pages(first)).toEqual(inOrder(first));
    expect(await pages(second)).toEqual(inOrder(second));
    const all = await pages('');
    expect(all.filter((name) => name.startsWith(first) || name.startsWith(second))).toEqual([
      ...inOrder(first),
      ...inOrder(second),
    ]);
  });
});
