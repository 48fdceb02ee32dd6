import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FoundHolder, judgeClaim } from '../../src/rules/claims.js';
import { createRegionGroupsInput, InvalidInput, removeRegionGroupsInput } from '../../src/rules/input.js';
import {
  formatOperationId,
  parseOperationId,
  regionPath,
  resourcePath,
  taskGroupPath,
  VERBS,
} from '../../src/rules/operation-id.js';
import { pollDelayMs, retryDelayMs, unreachableDelayMs } from '../../src/rules/pace.js';
import { placeGroups, placeMissing } from '../../src/rules/placement.js';
import { creationOutcome, quorum } from '../../src/rules/quorum.js';
import type { RegionWorkflow } from '../../src/rules/words.js';

describe('who may take a row', () => {
  const open = (workflowType: RegionWorkflow): FoundHolder => ({ kind: 'OTHER', workflowType, open: true });
  const closed = (workflowType: RegionWorkflow): FoundHolder => ({
    kind: 'OTHER',
    workflowType,
    open: false,
  });
  const take = { kind: 'TAKE', supersedes: false };
  const takeOver = { kind: 'TAKE', supersedes: true };

  test.each<[RegionWorkflow, string, FoundHolder, object]>([
    ['createRegionGroups', 'nobody', { kind: 'NOBODY' }, take],
    [
      'removeRegionGroups',
      'itself, so that a retried claim changes nothing',
      { kind: 'SELF' },
      { kind: 'HELD_BY_SELF' },
    ],
    [
      'recreateMissingReplicas',
      'its predecessor of another kind',
      { kind: 'PREDECESSOR', workflowType: 'createRegionGroups' },
      take,
    ],
    [
      'removeRegionGroups',
      'its predecessor of the same kind',
      { kind: 'PREDECESSOR', workflowType: 'removeRegionGroups' },
      { kind: 'CONTINUE' },
    ],
    ['deleteDatabase', 'a live removal', open('removeRegionGroups'), takeOver],
    ['deleteDatabase', 'a live creation', open('createRegionGroups'), takeOver],
    ['removeRegionGroups', 'a live creation', open('createRegionGroups'), takeOver],
    ['removeRegionGroups', 'a live recreation', open('recreateMissingReplicas'), takeOver],
    ['removeRegionGroups', 'a live removal', open('removeRegionGroups'), { kind: 'REFUSED' }],
    ['removeRegionGroups', 'a live database deletion', open('deleteDatabase'), { kind: 'REFUSED' }],
    ['deleteDatabase', 'a live database deletion', open('deleteDatabase'), { kind: 'REFUSED' }],
    ['createRegionGroups', 'a live recreation', open('recreateMissingReplicas'), { kind: 'REFUSED' }],
    ['recreateMissingReplicas', 'a live creation', open('createRegionGroups'), { kind: 'REFUSED' }],
    ['removeRegionGroups', 'a closed removal', closed('removeRegionGroups'), { kind: 'CONTINUE' }],
    ['deleteDatabase', 'a closed database deletion', closed('deleteDatabase'), { kind: 'CONTINUE' }],
    ['removeRegionGroups', 'a closed creation', closed('createRegionGroups'), takeOver],
  ])('%s finds %s', (wanted, _, found, verdict) => {
    expect(judgeClaim(wanted, found)).toEqual(verdict);
  });
});

describe('placement', () => {
  const candidates = fc.uniqueArray(
    fc.record({ nodeId: fc.stringMatching(/^node-[0-9]{1,2}$/), replicas: fc.nat(50) }),
    { selector: ({ nodeId }) => nodeId, minLength: 1, maxLength: 8 },
  );

  test('never puts two replicas of a region group on one node, and gives every group all of its replicas', () => {
    fc.assert(
      fc.property(
        candidates,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 9 }),
        (nodes, groups, r) => {
          const placements = placeGroups(nodes, groups, r);
          if (nodes.length < r) return placements === undefined;
          return (
            placements!.length === groups &&
            placements!.every((chosen) => new Set(chosen).size === r && chosen.length === r)
          );
        },
      ),
    );
  });

  test('fills the emptier nodes first, so that no node ends more than one replica above another that could have taken it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (n, groups, r) => {
          fc.pre(n >= r);
          const nodes = Array.from({ length: n }, (_, index) => ({ nodeId: `node-${index}`, replicas: 0 }));
          const load = new Map<string, number>();
          for (const nodeId of placeGroups(nodes, groups, r)!.flat())
            load.set(nodeId, (load.get(nodeId) ?? 0) + 1);
          const counts = nodes.map(({ nodeId }) => load.get(nodeId) ?? 0);
          return Math.max(...counts) - Math.min(...counts) <= 1;
        },
      ),
    );
  });

  test('places what is missing only on nodes without a replica of that group, as far as there are such nodes', () => {
    const load = new Map([
      ['node-1', 0],
      ['node-2', 5],
      ['node-3', 1],
    ]);
    expect(placeMissing(load, ['node-1'], 1)).toEqual(['node-3']);
    expect(placeMissing(load, ['node-1', 'node-3'], 2)).toEqual(['node-2']);
    expect(placeMissing(load, ['node-1', 'node-2', 'node-3'], 1)).toEqual([]);
    expect(placeMissing(load, [], 0)).toEqual([]);
    expect(load).toEqual(
      new Map([
        ['node-1', 0],
        ['node-2', 6],
        ['node-3', 2],
      ]),
    );
  });
});

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
])('a quorum of %i replicas is %i', (replicas, expected) => {
  expect(quorum(replicas)).toBe(expected);
});

test('a creation ends complete, incomplete from the quorum on, and without quorum below it', () => {
  expect([3, 2, 1, 0].map((running) => creationOutcome(running, 3))).toEqual([
    'COMPLETE',
    'INCOMPLETE',
    'NO_QUORUM',
    'NO_QUORUM',
  ]);
});

test('an operation id is read back as it was written, and nothing else is read', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/);
  const part = {
    path: fc.oneof(
      fc.record({ catalogId: fc.uuid(), groupId: fc.integer({ min: 1 }) }).map(regionPath),
      fc.record({ catalogId: fc.uuid(), resourceId: name }).map(resourcePath),
      fc
        .record({ catalogId: fc.uuid(), jobId: name, pipeline: fc.nat(), taskGroup: fc.nat() })
        .map(taskGroupPath),
    ),
    epoch: fc.integer({ min: 1 }),
    attempt: fc.integer({ min: 1, max: 1e6 }),
  };
  const key = fc.record({
    verb: fc.constantFrom(...VERBS),
    nodeId: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/),
    ...part,
  });
  fc.assert(
    fc.property(key, (given) => {
      expect(parseOperationId(formatOperationId(given))).toEqual(given);
    }),
  );
  fc.assert(fc.property(fc.string(), (junk) => parseOperationId(junk) === undefined));
});

test('the pace follows the data and stays within its bounds', () => {
  expect([0, 200, 1_000, 60_000].map(pollDelayMs)).toEqual([50, 100, 500, 2_000]);
  expect([1, 2, 3, 9, 10, 1_000].map(retryDelayMs)).toEqual([100, 200, 400, 25_600, 30_000, 30_000]);
  expect([1, 2, 6, 500].map(unreachableDelayMs)).toEqual([100, 200, 2_000, 2_000]);
});

describe('input guards', () => {
  const creation = {
    database: 'sales',
    kind: 'DATA',
    groups: 4,
    replicationFactor: 3,
    request: 'first',
    actor: 'ann',
  };

  test('let a good input through, and name the actor unknown when nobody said who acts', () => {
    expect(createRegionGroupsInput(creation)).toEqual(creation);
    const { actor: _, ...anonymous } = creation;
    expect(createRegionGroupsInput(anonymous).actor).toBe('unknown');
    expect(removeRegionGroupsInput({ groups: [3, 4, 3], actor: 'ann' })).toEqual({
      groups: [3, 4],
      actor: 'ann',
    });
  });

  test.each<[string, unknown, string]>([
    ['no object', 'junk', 'input'],
    ['nothing', undefined, 'input'],
    ['a list', [creation], 'input'],
    ['an unknown field', { ...creation, colour: 'red' }, 'colour'],
    ['a bad name', { ...creation, database: 'Sales!' }, 'database'],
    ['a kind that is none', { ...creation, kind: 'data' }, 'kind'],
    ['no groups', { ...creation, groups: 0 }, 'groups'],
    ['half a group', { ...creation, groups: 1.5 }, 'groups'],
    ['too many groups', { ...creation, groups: 1_001 }, 'groups'],
    ['a number as text', { ...creation, replicationFactor: '3' }, 'replicationFactor'],
    ['an empty request', { ...creation, request: '' }, 'request'],
    ['a control character in the actor', { ...creation, actor: 'a\nb' }, 'actor'],
  ])('refuse %s and name the field', (_, value, field) => {
    expect(() => createRegionGroupsInput(value)).toThrow(InvalidInput);
    expect(() => createRegionGroupsInput(value)).toThrow(new RegExp(`^${field}: `));
  });

  test.each<[string, unknown]>([
    ['neither groups nor a predecessor', { actor: 'ann' }],
    ['both', { groups: [1], from: { workflowId: 'w', firstRunId: 'r' } }],
    ['an empty list', { groups: [] }],
    ['an id below 1', { groups: [0] }],
    ['an id as text', { groups: ['1'] }],
  ])('refuse a removal of %s', (_, value) => {
    expect(() => removeRegionGroupsInput(value)).toThrow(InvalidInput);
  });
});
