import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ProcessState, TableStatus, TaskState } from '../../src/rules/optimizing-states.js';
import {
  BREAKER_LIMITS,
  type BreakerState,
  DEFAULT_GRACES,
  isOptimizing,
  judgeAnswer,
  judgeBreaker,
  judgeTask,
  type OutTask,
  type ProcessFacts,
  runningToCount,
  shapeOfProcess,
} from '../../src/rules/stuck.js';

const { ackTimeoutMs, settleGraceMs, resultGraceMs, commitGraceMs } = DEFAULT_GRACES;
const LONG = 86_400_000;

describe('a process as a whole', () => {
  const done: ProcessFacts = {
    process: 'RUNNING',
    table: 'MINOR_OPTIMIZING',
    tasks: 3,
    succeeded: 3,
    failed: 0,
    lastOutcomeMs: LONG,
    statusMs: LONG,
    committing: false,
  };
  const committing: ProcessFacts = { ...done, table: 'COMMITTING', committing: true };

  test.each<[string, ProcessFacts, 'S1' | 'S3' | 'S4' | undefined]>([
    ['every task SUCCESS and nobody counted them', done, 'S1'],
    ['the same in a FULL_OPTIMIZING table', { ...done, table: 'FULL_OPTIMIZING' }, 'S1'],
    ['every task SUCCESS for exactly the grace', { ...done, lastOutcomeMs: settleGraceMs }, 'S1'],
    ['every task SUCCESS within the grace', { ...done, lastOutcomeMs: settleGraceMs - 1 }, undefined],
    ['one task still out', { ...done, succeeded: 2 }, undefined],
    ['a task that FAILED and nobody planned again', { ...done, succeeded: 2, failed: 1 }, 'S4'],
    ['a task that FAILED just now', { ...done, failed: 1, lastOutcomeMs: 0 }, undefined],
    ['no task at all', { ...done, tasks: 0, succeeded: 0 }, undefined],
    ['a process that was closed meanwhile', { ...done, process: 'CLOSED' }, undefined],
    ['a process that failed', { ...done, process: 'FAILED' }, undefined],
    ['beginCommitting done, the table not COMMITTING', { ...done, committing: true }, undefined],
    ['a table that is IDLE again', { ...done, table: 'IDLE' }, undefined],
    ['a table being planned', { ...done, table: 'PLANNING' }, undefined],
    ['COMMITTING for long', committing, 'S3'],
    ['COMMITTING within the grace', { ...committing, statusMs: commitGraceMs - 1 }, undefined],
    ['COMMITTING, and the process committed', { ...committing, process: 'SUCCESS' }, undefined],
  ])('%s', (_, facts, shape) => {
    expect(shapeOfProcess(facts, DEFAULT_GRACES)).toBe(shape);
  });

  test('beginCommitting is asked for only where it never happened, and only with every task SUCCESS', () => {
    const facts = fc.record({
      process: fc.constantFrom<ProcessState>('RUNNING', 'SUCCESS', 'FAILED', 'CLOSED'),
      table: fc.constantFrom<TableStatus>('IDLE', 'PENDING', 'PLANNING', 'MINOR_OPTIMIZING', 'COMMITTING'),
      tasks: fc.nat(4),
      succeeded: fc.nat(4),
      failed: fc.nat(1),
      lastOutcomeMs: fc.nat(2 * settleGraceMs),
      statusMs: fc.nat(2 * commitGraceMs),
      committing: fc.boolean(),
    });
    fc.assert(
      fc.property(facts, (found) => {
        const shape = shapeOfProcess(found, DEFAULT_GRACES);
        if (shape === undefined) return;
        expect(found.process).toBe('RUNNING');
        if (shape === 'S3') expect(found.table).toBe('COMMITTING');
        else expect(found.lastOutcomeMs).toBeGreaterThanOrEqual(settleGraceMs);
        if (shape === 'S4') expect(found.failed).toBeGreaterThan(0);
        if (shape === 'S1') {
          expect(found.committing).toBe(false);
          expect(found.succeeded).toBe(found.tasks);
          expect(found.tasks).toBeGreaterThan(0);
          expect(isOptimizing(found.table)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a task that was handed out', () => {
  const acked: OutTask = { state: 'ACKED', ageMs: LONG, optimizerAlive: true, nodeId: 'node-1' };

  test.each<[string, OutTask, string]>([
    ['SCHEDULED past the ack time-out', { ...acked, state: 'SCHEDULED', ageMs: ackTimeoutMs }, 'REPLAN'],
    ['SCHEDULED just now', { ...acked, state: 'SCHEDULED', ageMs: ackTimeoutMs - 1 }, 'HEALTHY'],
    ['ACKED just now', { ...acked, ageMs: resultGraceMs - 1, optimizerAlive: false }, 'HEALTHY'],
    ['ACKED past the grace, its optimizer alive', acked, 'ASK'],
    [
      'ACKED past the grace, its optimizer gone: the outbox may still be there',
      { ...acked, optimizerAlive: false },
      'ASK',
    ],
    ['ACKED by a live optimizer without a node', { ...acked, nodeId: undefined }, 'HEALTHY'],
    [
      'ACKED by an optimizer without a node that is gone',
      { ...acked, nodeId: undefined, optimizerAlive: false },
      'REPLAN',
    ],
    ['SUCCESS', { ...acked, state: 'SUCCESS' }, 'HEALTHY'],
    ['CANCELED', { ...acked, state: 'CANCELED' }, 'HEALTHY'],
    ['PLANNED again already', { ...acked, state: 'PLANNED' }, 'HEALTHY'],
  ])('%s', (_, task, verdict) => {
    expect(judgeTask(task, DEFAULT_GRACES).kind).toBe(verdict);
  });

  test.each([
    ['has the result', { kind: 'RESULT' } as const, 'RECORD'],
    ['says that it is worked on', { kind: 'RUNNING' } as const, 'HEALTHY'],
    ['says that there is nothing', { kind: 'NONE' } as const, 'REPLAN'],
    ['does not answer now', { kind: 'UNREACHABLE', silentMs: resultGraceMs - 1 } as const, 'WAIT'],
    ['is lost past the grace', { kind: 'UNREACHABLE', silentMs: resultGraceMs } as const, 'REPLAN'],
    ['is not known any more', { kind: 'UNREACHABLE', silentMs: Number.POSITIVE_INFINITY } as const, 'REPLAN'],
  ])('whose node %s', (_, answer, verdict) => {
    expect(judgeAnswer(answer, DEFAULT_GRACES).kind).toBe(verdict);
  });

  test('only what is SCHEDULED or ACKED, for longer than its grace, is ever planned again', () => {
    const states: TaskState[] = ['PLANNED', 'SCHEDULED', 'ACKED', 'SUCCESS', 'FAILED', 'CANCELED'];
    const tasks = fc.record({
      state: fc.constantFrom(...states),
      ageMs: fc.nat(2 * resultGraceMs),
      optimizerAlive: fc.boolean(),
      nodeId: fc.constantFrom('node-1', undefined),
    });
    fc.assert(
      fc.property(tasks, (task) => {
        if (judgeTask(task, DEFAULT_GRACES).kind !== 'REPLAN') return;
        expect(['SCHEDULED', 'ACKED']).toContain(task.state);
        expect(task.ageMs).toBeGreaterThanOrEqual(task.state === 'ACKED' ? resultGraceMs : ackTimeoutMs);
        if (task.state === 'ACKED') expect(task.optimizerAlive).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the breaker', () => {
  const { share, leastRunning } = BREAKER_LIMITS;

  test.each<[string, BreakerState, number, number, BreakerState]>([
    ['more than half of ten', 'CLOSED', 6, 10, 'OPEN'],
    ['exactly half of ten', 'CLOSED', 5, 10, 'CLOSED'],
    ['all of nine: too few to say anything', 'CLOSED', 9, 9, 'CLOSED'],
    ['nothing stuck any more, and nobody acknowledged', 'OPEN', 0, 0, 'OPEN'],
    ['acknowledged, and as bad as before', 'ACKNOWLEDGED', 8, 10, 'ACKNOWLEDGED'],
    ['acknowledged, and mended: armed again', 'ACKNOWLEDGED', 2, 10, 'CLOSED'],
  ])('%s', (_, state, stuck, running, next) => {
    expect(judgeBreaker(state, { stuck, running })).toBe(next);
  });

  test('opens only above the share of enough processes, and only an acknowledgement closes it', () => {
    const states = fc.constantFrom<BreakerState>('OPEN', 'ACKNOWLEDGED', 'CLOSED');
    fc.assert(
      fc.property(states, fc.nat(200), fc.nat(200), (state, stuck, running) => {
        const next = judgeBreaker(state, { stuck, running });
        if (state === 'OPEN') expect(next).toBe('OPEN');
        else if (next === 'OPEN') {
          expect(state).toBe('CLOSED');
          expect(running).toBeGreaterThanOrEqual(leastRunning);
          expect(stuck).toBeGreaterThan(running * share);
        }
      }),
    );
  });

  test('counting no more of the running processes than needed changes no verdict', () => {
    const state = fc.constantFrom<BreakerState>('ACKNOWLEDGED', 'CLOSED');
    fc.assert(
      fc.property(state, fc.nat(300), fc.nat(1_000), (before, stuck, running) => {
        const counted = Math.min(running, runningToCount(stuck));
        expect(judgeBreaker(before, { stuck, running: counted })).toBe(
          judgeBreaker(before, { stuck, running }),
        );
      }),
    );
  });
});
