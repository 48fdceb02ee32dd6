import { expect, test } from 'vitest';
import { type DrivingStep, drivingStep, type OpenResource } from '../../src/rules/driving.js';

const requested: OpenResource = { state: 'REQUESTED', isPlaced: true, attempt: 1, lastError: null };
const releasing: OpenResource = { ...requested, state: 'RELEASING' };

test.each<[string, OpenResource, boolean, DrivingStep]>([
  ['what is requested and has its node is asked for', requested, true, { kind: 'REQUEST' }],
  ['what needs a node gets one first', { ...requested, isPlaced: false }, true, { kind: 'PLACE' }],
  ['what needs no node is asked for', { ...requested, isPlaced: false }, false, { kind: 'REQUEST' }],
  [
    'what its container refused is not asked for again under this launch',
    { ...requested, attempt: 2, lastError: 'no room' },
    true,
    { kind: 'LEAVE', reason: 'no room' },
  ],
  [
    'nor is it placed anew',
    { ...requested, attempt: 2, isPlaced: false },
    true,
    { kind: 'LEAVE', reason: 'its container did not start it' },
  ],
  ['what is let go is asked of its container', releasing, true, { kind: 'RELEASE' }],
  ['a release that failed is asked for again', { ...releasing, attempt: 2 }, true, { kind: 'RELEASE' }],
  ['what never had a node just goes', { ...releasing, isPlaced: false }, true, { kind: 'DROP' }],
  ['what needs no node is let go', { ...releasing, isPlaced: false }, false, { kind: 'RELEASE' }],
])('%s', (_what, resource, onNodes, step) => {
  expect(drivingStep(resource, { onNodes })).toEqual(step);
});
