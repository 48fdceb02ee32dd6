import fc from 'fast-check';
import { expect, test } from 'vitest';
import { whatIsAsked } from '../../src/cli/commands/fault.js';
import { formatDuration } from '../../src/cli/duration.js';
import { duration, regionGroupIds, wholeNumber } from '../../src/cli/options.js';

test.each([
  [0, '0.0s'],
  [420, '0.4s'],
  [12_900, '12s'],
  [184_000, '3m 4s'],
  [300_000, '5m'],
  [3_600_000, '1h'],
  [7_500_000, '2h 5m'],
  [262_800_000, '3d 1h'],
])('%i ms are shown as %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

test('a duration is taken as milliseconds; anything else says what is', () => {
  expect(duration('1.5m')).toBe(90_000);
  expect(() => duration('5')).toThrow('Expected a duration, such as 500ms, 20s, 5m or 2h.');
});

test('a number is taken only when it is whole and within its bounds', () => {
  const parse = wholeNumber(1, 9);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.integer().map(String), fc.double().map(String)), (text) => {
      const taken = (() => {
        try {
          return parse(text);
        } catch {
          return undefined;
        }
      })();
      expect(taken).toBe(/^0*[1-9]$/.test(text) && text.length <= 16 ? Number(text) : undefined);
    }),
  );
});

test('an id that is given twice counts once', () => {
  expect(['7', '8', '7'].reduce<readonly number[]>((ids, text) => regionGroupIds(text, ids), [])).toEqual([
    7, 8,
  ]);
});

test('a fault is what its flags say', () => {
  expect(whatIsAsked({ effect: 'delete-region', delay: 20_000, times: 1, match: '/7/' })).toEqual({
    do: 'set',
    fault: { target: 'delete-region', times: 1, match: '/7/', kind: 'DELAY', delayMs: 20_000 },
  });
  expect(whatIsAsked({ rpc: 'Submit', busy: 1_000 })).toEqual({
    do: 'set',
    fault: { target: 'Submit', times: 0, kind: 'BUSY', retryAfterMs: 1_000 },
  });
  expect(whatIsAsked({ effect: 'create-region', fail: 'no space', afterEffect: true })).toEqual({
    do: 'set',
    fault: { target: 'create-region', times: 0, kind: 'FAIL', message: 'no space', afterEffect: true },
  });
  expect(whatIsAsked({ clear: true })).toEqual({ do: 'clear' });
});

test.each([
  [{ rpc: 'Get', busy: 1 }, '--rpc Submit'],
  [{ rpc: 'Submit', fail: 'x' }, '--effect'],
  [{ rpc: 'Submit', delay: 1, afterEffect: true }, '--after-effect belongs to --fail'],
  [{ list: true, delay: 1 }, 'stand alone'],
])('flags that do not fit are refused: %j', (options, named) => {
  expect(() => whatIsAsked(options)).toThrow(named);
});
