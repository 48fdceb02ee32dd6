import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countFiles,
  dueKind,
  MAX_TASK_FILES,
  MAX_TASKS,
  planTasks,
} from '../../src/rules/optimizing-plan.js';
import * as states from '../../src/rules/optimizing-states.js';

const TARGET = 1_000;
const files = (...sizes: number[]) => sizes.map((bytes, index) => ({ bytes, path: `f${index}` }));
const many = (count: number, bytes: number) => Array.from({ length: count }, () => bytes);

describe('what a table is due for', () => {
  it.each([
    ['11 small files', many(11, 124), undefined],
    ['12 small files', many(12, 124), 'MINOR'],
    ['12 files of an eighth of the target', many(12, 125), 'FULL'],
    ['3 undersized files', many(3, 749), undefined],
    ['4 undersized files and nothing else', many(4, 749), 'FULL'],
    ['4 undersized files beside much that is full', [...many(4, 200), ...many(5, 1_000)], 'MAJOR'],
    ['4 undersized files that are three quarters of the table', [...many(4, 600), 800], 'FULL'],
    ['files of three quarters of the target', many(20, 750), undefined],
    ['small files beside undersized ones', [...many(12, 10), ...many(3, 200)], 'MINOR'],
    ['nothing', [], undefined],
  ])('%s', (_, sizes, kind) => {
    expect(dueKind(files(...sizes), TARGET)).toBe(kind);
  });

  it('counts every file as small, undersized or neither', () => {
    expect(countFiles(files(0, 124, 125, 749, 750, 5_000), TARGET)).toEqual({
      files: 6,
      smallFiles: 2,
      undersizedFiles: 2,
    });
  });
});

describe('the tasks of a process', () => {
  it('take small files only for MINOR, also undersized ones for MAJOR, all for FULL', () => {
    const table = files(10, 20, 300, 400, 800, 900);
    const taken = (kind: 'MINOR' | 'MAJOR' | 'FULL') =>
      planTasks(kind, table, TARGET).map((task) => task.map(({ bytes }) => bytes));
    expect(taken('MINOR')).toEqual([[10, 20]]);
    expect(taken('MAJOR')).toEqual([[10, 20, 300, 400]]);
    expect(taken('FULL')).toEqual([[10, 20, 300, 400, 800]]);
  });

  it('never lose or double a file, have two at least, and are bounded', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 1_500 }), { maxLength: 400 });
    const kinds = fc.constantFrom('MINOR', 'MAJOR', 'FULL');
    fc.assert(
      fc.property(sizes, kinds, (all, kind) => {
        const table = files(...all);
        const tasks = planTasks(kind, table, TARGET);
        const taken = tasks.flat().map(({ path }) => path);
        expect(new Set(taken).size).toBe(taken.length);
        expect(tasks.length).toBeLessThanOrEqual(MAX_TASKS);
        for (const task of tasks) {
          expect(task.length).toBeGreaterThanOrEqual(2);
          expect(task.length).toBeLessThanOrEqual(MAX_TASK_FILES);
          const bytes = task.reduce((sum, file) => sum + file.bytes, 0);
          if (kind !== 'FULL') expect(bytes).toBeLessThan(TARGET * 1.5);
        }
      }),
    );
  });

  it('are never none for a table that is due, so that planning comes to an end', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1_500 }), { maxLength: 200 }), (sizes) => {
        let table = files(...sizes);
        for (let round = 0; round < 100; round += 1) {
          const kind = dueKind(table, TARGET);
          if (kind === undefined) return;
          const tasks = planTasks(kind, table, TARGET);
          expect(tasks.length).toBeGreaterThan(0);
          const taken = new Set(tasks.flat());
          const kept = table.filter((file) => !taken.has(file));
          const merged = tasks.map((task) => task.reduce((sum, { bytes }) => sum + bytes, 0));
          table = files(...kept.map(({ bytes }) => bytes), ...merged);
        }
        expect.fail('planning never came to an end');
      }),
    );
  });
});

describe('the allowed transitions', () => {
  const TASKS = ['PLANNED', 'SCHEDULED', 'ACKED', 'SUCCESS', 'FAILED', 'CANCELED'] as const;
  const TABLES = [
    'IDLE',
    'PENDING',
    'PLANNING',
    'MINOR_OPTIMIZING',
    'MAJOR_OPTIMIZING',
    'FULL_OPTIMIZING',
    'COMMITTING',
  ] as const;
  const PROCESSES = ['RUNNING', 'SUCCESS', 'FAILED', 'CLOSED'] as const;
  const pairs = <T extends string>(all: readonly T[], may: (from: T, to: T) => boolean) =>
    all.flatMap((from) => all.filter((to) => may(from, to)).map((to) => `${from}>${to}`));

  it('of tasks are these and no other', () => {
    expect(pairs(TASKS, states.mayTaskBecome)).toEqual([
      'PLANNED>SCHEDULED',
      'PLANNED>CANCELED',
      'SCHEDULED>PLANNED',
      'SCHEDULED>ACKED',
      'SCHEDULED>CANCELED',
      'ACKED>PLANNED',
      'ACKED>SUCCESS',
      'ACKED>FAILED',
      'ACKED>CANCELED',
      'FAILED>PLANNED',
      'FAILED>CANCELED',
    ]);
  });

  it('of processes are these and no other', () => {
    expect(pairs(PROCESSES, states.mayProcessBecome)).toEqual([
      'RUNNING>SUCCESS',
      'RUNNING>FAILED',
      'RUNNING>CLOSED',
    ]);
  });

  it('of tables are these and no other', () => {
    expect(pairs(TABLES, states.mayTableBecome)).toEqual([
      'IDLE>PENDING',
      'IDLE>PLANNING',
      'PENDING>IDLE',
      'PENDING>PLANNING',
      'PLANNING>IDLE',
      'PLANNING>PENDING',
      'PLANNING>MINOR_OPTIMIZING',
      'PLANNING>MAJOR_OPTIMIZING',
      'PLANNING>FULL_OPTIMIZING',
      'MINOR_OPTIMIZING>IDLE',
      'MINOR_OPTIMIZING>COMMITTING',
      'MAJOR_OPTIMIZING>IDLE',
      'MAJOR_OPTIMIZING>COMMITTING',
      'FULL_OPTIMIZING>IDLE',
      'FULL_OPTIMIZING>COMMITTING',
      'COMMITTING>IDLE',
    ]);
  });
});
