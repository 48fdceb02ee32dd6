import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterCycle,
  afterRestartNow,
  type CycleOutcome,
  DEFAULT_GROUP_SETTINGS,
  decideKeeping,
  type GroupSettings,
  type KeeperState,
  type KeepingAction,
  type KeepingView,
  type LiveOptimizer,
  NEW_KEEPER,
} from '../../src/rules/keeping.js';
import { judgeRestartNow, type KeptResource, orphanTurn } from '../../src/rules/orphans.js';

const GRACE = 1_000;
const SETTINGS: GroupSettings = {
  ...DEFAULT_GROUP_SETTINGS,
  autoRestart: true,
  maxRetries: 2,
  gracePeriodMs: GRACE,
  threadsPerOptimizer: 2,
};

function resource(resourceId: string, more: Partial<KeptResource> = {}): KeptResource {
  return {
    resourceId,
    threads: 2,
    launch: 1,
    everRegistered: true,
    releasing: false,
    container: 'RESTARTS',
    ...more,
  };
}

function live(resourceId: string, aliveMs = 10 * GRACE): LiveOptimizer {
  return { resourceId, threads: 2, aliveMs };
}

function view(nowMs: number, more: Partial<KeepingView>): KeepingView {
  return { nowMs, settings: SETTINGS, resources: [], optimizers: [], canRequest: true, ...more };
}

/** A cycle of which no restart was skipped and no container said anything. */
const AS_DECIDED: CycleOutcome = { skipped: [], taken: [], refused: [] };

/** Decides at each time in turn, carrying the state on; the actions of each cycle. */
function cycles(
  times: readonly number[],
  at: (nowMs: number, state: KeeperState) => Partial<KeepingView>,
  state: KeeperState = NEW_KEEPER,
): { actions: KeepingAction[][]; state: KeeperState } {
  const actions: KeepingAction[][] = [];
  let current = state;
  for (const nowMs of times) {
    const decision = decideKeeping(view(nowMs, at(nowMs, current)), current);
    actions.push([...decision.actions]);
    current = decision.state;
  }
  return { actions, state: current };
}

describe('an orphan', () => {
  test('is left alone inside its grace, and forgotten when its optimizer comes', () => {
    const { actions, state } = cycles([0, GRACE - 1, GRACE], (now) => ({
      resources: [resource('a')],
      optimizers: now === GRACE ? [live('a', 1)] : [],
    }));
    expect(actions).toEqual([[], [], []]);
    expect(state.orphans).toEqual({});
  });

  test('is restarted after its grace, then one grace after the last restart, and cleaned up after its last attempt', () => {
    const times = [0, 999, 1_000, 1_999, 2_000, 2_500, 3_000];
    const { actions } = cycles(times, (_now, { orphans }) => ({
      resources: [resource('a', { launch: orphans['a']?.launch ?? 1 })],
    }));
    expect(actions).toEqual([
      [],
      [],
      [{ kind: 'restart', resourceId: 'a', fromLaunch: 1, attempt: 1 }],
      [],
      [{ kind: 'restart', resourceId: 'a', fromLaunch: 2, attempt: 2 }],
      [],
      [{ kind: 'cleanUp', resourceId: 'a', attempts: 2 }],
    ]);
  });

  test('keeps its attempts while its optimizer is younger than one grace, and starts again from 0 after that', () => {
    const restarted = cycles([0, GRACE], () => ({ resources: [resource('a')] })).state;
    const young = decideKeeping(
      view(1_500, { resources: [resource('a', { launch: 2 })], optimizers: [live('a', GRACE - 1)] }),
      restarted,
    );
    expect(young.state.orphans['a']?.attempts).toBe(1);
    const grown = decideKeeping(
      view(2_500, { resources: [resource('a', { launch: 2 })], optimizers: [live('a', GRACE)] }),
      young.state,
    );
    expect(grown.state.orphans).toEqual({});
  });

  test('is never restarted without autoRestart; a request that never came to life is cleaned up', () => {
    const { actions } = cycles([0, GRACE, 10 * GRACE], (now) => ({
      settings: { ...SETTINGS, autoRestart: false },
      resources: [resource('a'), ...(now < 10 * GRACE ? [resource('b', { everRegistered: false })] : [])],
    }));
    expect(actions).toEqual([[], [{ kind: 'cleanUp', resourceId: 'b', attempts: 0 }], []]);
  });

  test('whose container opts out, or is unknown, is told once after its grace, and holds nobody up', () => {
    const { actions, state } = cycles([0, GRACE, 2 * GRACE], (_now, { orphans }) => ({
      resources: [
        resource('mine', { launch: orphans['mine']?.launch ?? 1 }),
        resource('theirs', { container: 'OPTS_OUT' }),
        resource('gone', { container: 'UNKNOWN' }),
      ],
    }));
    expect(actions[1]).toEqual([
      { kind: 'restart', resourceId: 'mine', fromLaunch: 1, attempt: 1 },
      { kind: 'tellOptOut', resourceId: 'theirs', because: 'OPTS_OUT' },
      { kind: 'tellOptOut', resourceId: 'gone', because: 'UNKNOWN' },
    ]);
    expect(actions[2]).toEqual([{ kind: 'restart', resourceId: 'mine', fromLaunch: 2, attempt: 2 }]);
    expect(state.orphans['theirs']?.attempts).toBe(0);
  });
});

describe('a launch that the memory does not know', () => {
  const due = cycles([0, 1], () => ({ resources: [resource('a')] })).state;

  test('is joined by the repeated cycle whose answer was lost, and counted once', () => {
    const again = decideKeeping(view(GRACE, { resources: [resource('a', { launch: 2 })] }), due);
    expect(again.actions).toEqual([{ kind: 'restart', resourceId: 'a', fromLaunch: 1, attempt: 1 }]);
    expect(again.state.orphans['a']).toMatchObject({ attempts: 1, launch: 2 });
  });

  test('is counted when its optimizer lives already', () => {
    const now = view(GRACE, { resources: [resource('a', { launch: 2 })], optimizers: [live('a', 10)] });
    const again = decideKeeping(now, due);
    expect(again.actions).toEqual([]);
    expect(again.state.orphans['a']).toMatchObject({ attempts: 1, launch: 2 });
  });

  test('is counted after a reset to an older point, and nothing is launched twice', () => {
    const again = decideKeeping(view(GRACE, { resources: [resource('a', { launch: 3 })] }), due);
    expect(again.actions).toEqual([]);
    expect(again.state.orphans['a']).toMatchObject({ attempts: 2, launch: 3, lastRestartMs: GRACE });
  });
});

test('a restart that was not made, because its optimizer came, counts nothing: the next one is made', () => {
  const due = cycles([0], () => ({ resources: [resource('a')] })).state;
  const decided = decideKeeping(view(GRACE, { resources: [resource('a')] }), due).state;
  const skipped = afterCycle(decided, due, { ...AS_DECIDED, skipped: ['a'] });
  expect(skipped.orphans['a']).toEqual(due.orphans['a']);
  const died = cycles(
    [GRACE + 1, GRACE + 2, 2 * GRACE + 2],
    (now) => ({ resources: [resource('a')], optimizers: now === GRACE + 1 ? [live('a', 1)] : [] }),
    skipped,
  );
  expect(died.actions[2]).toEqual([{ kind: 'restart', resourceId: 'a', fromLaunch: 1, attempt: 1 }]);
});

test('a catalog that was restored to an older point is followed: the next launch is the one after its own', () => {
  const state: KeeperState = {
    ...NEW_KEEPER,
    orphans: { a: { firstSeenMs: 0, launch: 7, attempts: 1, lastRestartMs: 0 } },
  };
  const decision = decideKeeping(view(GRACE, { resources: [resource('a', { launch: 3 })] }), state);
  expect(decision.actions).toEqual([{ kind: 'restart', resourceId: 'a', fromLaunch: 3, attempt: 2 }]);
});

test('an operator restarts an orphan at once, whatever the settings say', () => {
  const settings = { ...SETTINGS, autoRestart: false };
  const resources = [resource('a', { launch: 4 })];
  const state = afterRestartNow(cycles([0], () => ({ settings, resources })).state, 'a', 4, 1);
  const now = decideKeeping(view(1, { settings, resources }), state);
  expect(now.actions).toEqual([{ kind: 'restart', resourceId: 'a', fromLaunch: 4, attempt: 1 }]);
  const later = decideKeeping(view(2, { settings, resources: [resource('a', { launch: 5 })] }), now.state);
  expect(later.actions).toEqual([]);
});

test('what an orphan is told to expect is what becomes of it', () => {
  const settings = { autoRestart: true, maxRetries: 2 };
  expect(orphanTurn({ attempts: 1 }, true, settings)).toBe('RESTART');
  expect(orphanTurn({ attempts: 2 }, true, settings)).toBe('CLEAN_UP');
  expect(orphanTurn({ attempts: 2, forced: true }, true, { ...settings, autoRestart: false })).toBe(
    'RESTART',
  );
  expect(orphanTurn({ attempts: 0 }, true, { ...settings, autoRestart: false })).toBe('NOTHING');
  expect(orphanTurn({ attempts: 0 }, false, { ...settings, autoRestart: false })).toBe('CLEAN_UP');
});

describe('an operator who asks for a restart', () => {
  test.each<[string, Partial<KeptResource>, number | undefined, boolean, ReturnType<typeof judgeRestartNow>]>(
    [
      ['gets it from the last launch', {}, undefined, false, { kind: 'RESTART', fromLaunch: 4 }],
      ['gets it from the launch that he saw', {}, 4, false, { kind: 'RESTART', fromLaunch: 4 }],
      ['of an older launch finds it restarted, also when that lives', {}, 3, true, { kind: 'RESTARTED' }],
      ['is refused while its optimizer lives', {}, 4, true, { kind: 'ALIVE' }],
      ['is refused while it is let go', { releasing: true }, 4, false, { kind: 'RELEASING' }],
      ['is refused where the container opts out', { container: 'OPTS_OUT' }, 4, false, { kind: 'OPTS_OUT' }],
      ['is refused where the container is unknown', { container: 'UNKNOWN' }, 4, false, { kind: 'OPTS_OUT' }],
    ],
  )('%s', (_what, more, seen, isAlive, verdict) => {
    expect(judgeRestartNow(resource('a', { launch: 4, ...more }), seen, isAlive)).toEqual(verdict);
  });
});

describe('capacity', () => {
  const wanted = { ...SETTINGS, minParallelism: 4 };

  test('is requested for what is neither alive nor on its way', () => {
    const { actions } = cycles([0], () => ({ settings: { ...wanted, minParallelism: 7 } }));
    expect(actions[0]).toEqual([2, 2, 2, 1].map((threads) => ({ kind: 'request', threads })));
  });

  test('is not requested for an orphan that is restarting, and is after its clean-up', () => {
    const at = (now: number, { orphans }: KeeperState) => ({
      settings: wanted,
      optimizers: [live('b')],
      resources: [
        resource('b'),
        ...(now <= 3 * GRACE ? [resource('a', { launch: orphans['a']?.launch ?? 1 })] : []),
      ],
    });
    const { actions } = cycles([0, GRACE, 2 * GRACE, 3 * GRACE, 3 * GRACE + 1], at);
    expect(actions.map((of) => of.map(({ kind }) => kind))).toEqual([
      [],
      ['restart'],
      ['restart'],
      ['cleanUp'],
      ['request'],
    ]);
  });

  test('is requested for an orphan whose restart the container refused', () => {
    const resources = [resource('a')];
    const restarted = decideKeeping(
      view(GRACE, { settings: { ...wanted, minParallelism: 2 }, resources }),
      cycles([0], () => ({ resources })).state,
    ).state;
    const settings = { ...wanted, minParallelism: 2 };
    const expectRequests = (state: KeeperState, count: number) =>
      expect(decideKeeping(view(GRACE + 1, { settings, resources }), state).actions).toHaveLength(count);
    expectRequests(restarted, 0);
    expectRequests(afterCycle(restarted, restarted, { ...AS_DECIDED, refused: ['a'] }), 1);
  });

  test('is counted on again once the container took the restart after all, and when its optimizer dies once more', () => {
    const settings = { ...wanted, minParallelism: 2 };
    const resources = [resource('a', { launch: 2 })];
    const orphan = { firstSeenMs: 0, launch: 2, attempts: 1, lastRestartMs: 0, restartFailed: true };
    const failed: KeeperState = { ...NEW_KEEPER, orphans: { a: orphan } };
    const requests = (state: KeeperState, nowMs: number) =>
      decideKeeping(view(nowMs, { settings, resources }), state).actions.length;
    expect(requests(failed, 1)).toBe(1);
    expect(requests(afterCycle(failed, failed, { ...AS_DECIDED, taken: ['a'] }), 1)).toBe(0);
    const lived = decideKeeping(view(2, { settings, resources, optimizers: [live('a', 1)] }), failed).state;
    expect(requests(lived, 3)).toBe(0);
  });

  test('is not requested where nobody starts optimizers', () => {
    const { actions } = cycles([0, GRACE], () => ({ settings: wanted, canRequest: false }));
    expect(actions).toEqual([[], []]);
  });

  test('of a container that opts out counts as asked for in vain, too: no more than that pile up', () => {
    const settings = { ...wanted, maxKeepingAttempts: 2, threadsPerOptimizer: 4 };
    const resources: KeptResource[] = [];
    let state: KeeperState = NEW_KEEPER;
    for (let cycle = 0; cycle < 10; cycle += 1) {
      const decision = decideKeeping(view(cycle * GRACE, { settings, resources: [...resources] }), state);
      state = decision.state;
      for (const { kind } of decision.actions) {
        expect(kind).not.toBe('cleanUp');
        if (kind !== 'request') continue;
        const more = { everRegistered: false, threads: 4, container: 'OPTS_OUT' } as const;
        resources.push(resource(`r${cycle}`, more));
      }
    }
    expect(resources).toHaveLength(2);
  });

  test.each([
    ['an orphan comes back', { optimizers: [live('a')], resources: [resource('a')] }],
    ['more live than did since', { optimizers: [live('b')], resources: [resource('b')] }],
  ])('that was given up applies again when %s', (_what, came) => {
    const orphan = { firstSeenMs: 0, launch: 1, attempts: 0 };
    const given: KeeperState = { orphans: { a: orphan }, keepingAttempts: 3, loweredAt: 2, cycle: 9 };
    const fallen = decideKeeping(view(1, { settings: wanted, resources: [resource('a')] }), given);
    expect([fallen.effectiveMinParallelism, fallen.state.loweredAt]).toEqual([0, 0]);
    const back = decideKeeping(view(2, { settings: wanted, ...came }), fallen.state);
    expect([back.effectiveMinParallelism, back.state.keepingAttempts]).toEqual([4, 0]);
  });

  test('counts requests in a row: one that comes to life begins the count anew, once', () => {
    const orphan = { firstSeenMs: 0, launch: 2, attempts: 1, lastRestartMs: 0 };
    const before: KeeperState = { ...NEW_KEEPER, orphans: { a: orphan }, keepingAttempts: 2 };
    const resources = [resource('a', { launch: 2 })];
    const came = decideKeeping(view(1, { resources, optimizers: [live('a', 1)] }), before);
    expect(came.state.keepingAttempts).toBe(0);
    const later = { ...came.state, keepingAttempts: 1 };
    const still = decideKeeping(view(2, { resources, optimizers: [live('a', 2)] }), later);
    expect(still.state.keepingAttempts).toBe(1);
  });

  test('falls to the live threads after requests that never registered, and comes back with capacity', () => {
    const settings = { ...SETTINGS, autoRestart: false, minParallelism: 2, maxKeepingAttempts: 3 };
    let state: KeeperState = NEW_KEEPER;
    let requested: KeptResource[] = [];
    const requests: number[] = [];
    for (let cycle = 0; cycle < 20; cycle += 1) {
      const { actions, ...decision } = decideKeeping(
        view(cycle * GRACE, { settings, resources: requested }),
        state,
      );
      state = decision.state;
      const gone = new Set(actions.flatMap((action) => (action.kind === 'cleanUp' ? action.resourceId : [])));
      requested = requested.filter(({ resourceId }) => !gone.has(resourceId));
      for (const action of actions) {
        if (action.kind !== 'request') continue;
        requests.push(cycle);
        requested.push(resource(`r${cycle}`, { everRegistered: false, threads: action.threads }));
      }
    }
    expect(requests).toHaveLength(3);
    expect(decideKeeping(view(20_000, { settings }), state).effectiveMinParallelism).toBe(0);
    const back = decideKeeping(
      view(21_000, {
        settings,
        resources: [resource('x', { threads: 1 })],
        optimizers: [{ ...live('x'), threads: 1 }],
      }),
      state,
    );
    expect(back.effectiveMinParallelism).toBe(2);
    expect(back.actions).toEqual([{ kind: 'request', threads: 1 }]);
  });
});

describe('whatever happens', () => {
  const ids = ['a', 'b', 'c', 'd'];
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 2_500 }),
    alive: fc.subarray(ids),
    aliveMs: fc.integer({ min: 0, max: 2_000 }),
    refused: fc.subarray(ids),
    present: fc.subarray(ids),
  });
  const scenario = fc.record({
    settings: fc.record({
      autoRestart: fc.boolean(),
      maxRetries: fc.integer({ min: 0, max: 4 }),
      minParallelism: fc.integer({ min: 0, max: 20 }),
      threadsPerOptimizer: fc.integer({ min: 1, max: 8 }),
      maxKeepingAttempts: fc.integer({ min: 1, max: 4 }),
    }),
    containers: fc.dictionary(
      fc.constantFrom(...ids),
      fc.constantFrom('RESTARTS' as const, 'OPTS_OUT' as const, 'UNKNOWN' as const),
    ),
    steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  });

  test('attempts stay within their maximum, what lives is never deleted, and no more threads are requested than lack', () => {
    fc.assert(
      fc.property(scenario, ({ settings: some, containers, steps }) => {
        const settings: GroupSettings = { ...SETTINGS, ...some };
        let state: KeeperState = NEW_KEEPER;
        let nowMs = 0;
        const restartedAt = new Map<string, number>();
        for (const { afterMs, alive, aliveMs, refused, present } of steps) {
          nowMs += afterMs;
          const resources = [...new Set([...present, ...alive])].map((id) =>
            resource(id, { container: containers[id] ?? 'RESTARTS', launch: state.orphans[id]?.launch ?? 1 }),
          );
          const optimizers = alive.map((id) => live(id, aliveMs));
          const now = view(nowMs, { settings, resources, optimizers });
          const decision = decideKeeping(now, state);
          expect(decideKeeping(now, state)).toEqual(decision);
          let requestedThreads = 0;
          for (const action of decision.actions) {
            if (action.kind === 'request') {
              requestedThreads += action.threads;
              expect(action.threads).toBeLessThanOrEqual(settings.threadsPerOptimizer);
              continue;
            }
            expect(alive).not.toContain(action.resourceId);
            if (action.kind === 'tellOptOut') continue;
            expect(containers[action.resourceId] ?? 'RESTARTS').toBe('RESTARTS');
            if (action.kind === 'restart') {
              expect(settings.autoRestart).toBe(true);
              expect(action.attempt).toBeLessThanOrEqual(settings.maxRetries);
              const last = restartedAt.get(action.resourceId);
              if (last !== undefined && state.orphans[action.resourceId] !== undefined) {
                expect(nowMs - last).toBeGreaterThanOrEqual(GRACE);
              }
              restartedAt.set(action.resourceId, nowMs);
            }
          }
          const cleaned = decision.actions.filter(({ kind }) => kind === 'cleanUp').length;
          const fresh = resources.filter(
            ({ resourceId }) => !alive.includes(resourceId) && state.orphans[resourceId] === undefined,
          ).length;
          const counted = 2 * (alive.length + fresh + cleaned);
          expect(requestedThreads).toBeLessThanOrEqual(Math.max(0, settings.minParallelism - counted));
          state = decision.state;
          state = afterCycle(state, state, { ...AS_DECIDED, refused });
          for (const orphan of Object.values(state.orphans)) {
            expect(orphan.attempts).toBeLessThanOrEqual(settings.maxRetries);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
