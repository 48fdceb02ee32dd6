import { expect, test } from 'vitest';
import { type KnownBuilds, patience, succession } from '../../src/rules/worker-builds.js';

test.each<[string, KnownBuilds, ReturnType<typeof succession>]>([
  ['nothing is current', { current: undefined, known: ['b'], living: ['b'] }, 'FIRST'],
  [
    'nothing is current, and a newer build lives',
    { current: undefined, known: ['b', 'c'], living: ['b', 'c'] },
    undefined,
  ],
  [
    'nothing is current, and a newer build is gone',
    { current: undefined, known: ['b', 'c'], living: ['b'] },
    'FIRST',
  ],
  ['it is current itself', { current: 'b', known: ['a', 'b'], living: ['b'] }, undefined],
  ['the current build has a worker', { current: 'a', known: ['a', 'b'], living: ['a', 'b'] }, undefined],
  ['the current build has no worker', { current: 'a', known: ['a', 'b'], living: ['b'] }, 'ABANDONED'],
  [
    'the current build has no worker, and a newer one lives',
    { current: 'a', known: ['a', 'b', 'c'], living: ['b', 'c'] },
    undefined,
  ],
  [
    'a newer build is current and has no worker',
    { current: 'c', known: ['a', 'b', 'c'], living: ['b'] },
    'ABANDONED',
  ],
  ['it has not told of itself yet', { current: 'a', known: ['a', 'b'], living: [] }, 'ABANDONED'],
])('a worker of build b, where %s', (_, builds, expected) => {
  expect(succession('b', builds)).toBe(expected);
});

test('an abandoned build is followed at the third look in a row, and none at once but where nothing is current', () => {
  const seen = [
    'ABANDONED',
    'ABANDONED',
    undefined,
    'ABANDONED',
    'ABANDONED',
    'ABANDONED',
    'ABANDONED',
    'FIRST',
  ] as const;
  let looks = 0;
  const acts = seen.map((because) => {
    const verdict = patience(looks, because);
    looks = verdict.looks;
    return verdict.acts;
  });
  expect(acts).toEqual([false, false, false, false, false, true, true, true]);
});
