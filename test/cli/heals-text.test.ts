import { expect, test } from 'vitest';
import { acted, healedText, unhealed, unhealedText } from '../../src/cli/heals-text.js';
import type { EndedHeal, HealResult } from '../../src/client/index.js';

const SCHEDULED = 'steward/heal-stuck-commits-2026-11-21T21:29:00Z';

function cycle(result: Partial<HealResult>): EndedHeal {
  return {
    operationId: SCHEDULED,
    actor: 'schedule',
    endedAt: '2026-11-21T21:29:01.000Z',
    result: {
      mode: 'repair',
      stuck: [],
      total: 0,
      anomalies: [],
      unanswered: [],
      breaker: { state: 'CLOSED', reason: '' },
      healed: [],
      failed: [],
      ...result,
    },
  };
}

const [ORDERS, CLICKS] = [
  { table: 'orders', processId: 7, shape: 'S1', status: 'FULL_OPTIMIZING', process: 'RUNNING' },
  { table: 'clicks', processId: 8, shape: 'S4', status: 'MINOR_OPTIMIZING', process: 'RUNNING' },
] as unknown as [HealResult['stuck'][number], HealResult['stuck'][number]];

test('what a cycle healed is stuck no more, and is told with the schedule that started it', () => {
  const ended = cycle({
    stuck: [ORDERS, CLICKS],
    healed: [{ table: 'orders', processId: 7, shape: 'S1', outcome: 'COMMITTING' }],
    failed: [{ table: 'clicks', processId: 8, shape: 'S4', cause: 'lock timeout' }],
  });
  expect(unhealed(ended.result)).toEqual([CLICKS]);
  const [found, ...rows] = unhealedText(ended, [CLICKS]).split('\n');
  expect(found).toMatch(/^found \S.* ago by steward\/heal-stuck-commits$/);
  expect(rows).toEqual([
    'TABLE   PROCESS  STUCK                       NOT HEALED BECAUSE',
    'clicks        8  S4: nobody works on a task  lock timeout; tried again',
  ]);
  expect(healedText(ended, acted(ended.result)).split('\n')).toEqual([
    expect.stringMatching(/^\S.* ago by steward\/heal-stuck-commits$/),
    'TABLE   PROCESS  WAS STUCK                    HEALED',
    'orders        7  S1: all done, not committed  its commit runs',
  ]);
});

test('why a cycle left alone what it found is told', () => {
  const observed = cycle({ mode: 'observe', stuck: [ORDERS] });
  expect(unhealedText(observed, [ORDERS])).toMatch(/it was only looked for$/);
  const held = cycle({ stuck: [ORDERS], breaker: { state: 'OPEN', reason: 'too many' } });
  expect(unhealedText(held, [ORDERS])).toMatch(/breaker open: steward heal ack$/);
});

test('what had gone on by itself was not healed', () => {
  const { result } = cycle({ healed: [{ table: 'orders', processId: 7, shape: 'S1', outcome: 'GONE' }] });
  expect(acted(result)).toEqual([]);
});
