import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeDuration, parseDuration, writeDuration } from '../../src/model/duration.js';

test.each([
  ['500ms', 500],
  ['20s', 20_000],
  ['1.5m', 90_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  ['0s', 0],
  ['365d', 365 * 86_400_000],
])('the duration %s is %i ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each(['', '5', 's', '-1s', '1 s', '1s2', '1e3s', '365.001d', '٣s', '1.s', '.5s', '0x1s'])(
  '%j is no duration',
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

test('what is written is read as it was, and taken only within the bounds', () => {
  fc.assert(
    fc.property(fc.nat(100_000_000), fc.nat(100_000_000), fc.nat(100_000_000), (ms, leastMs, mostMs) => {
      const within = ms >= leastMs && ms <= mostMs;
      expect(parseDuration(writeDuration(ms), { leastMs, mostMs })).toBe(within ? ms : undefined);
    }),
  );
});

test('what is expected names the bounds', () => {
  expect(describeDuration({ leastMs: 10, mostMs: 86_400_000 })).toMatch(
    /^a duration from 10ms to 1d, such as /,
  );
});
