import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jobSpec, splitFiles, splitRate } from '../../src/rules/job-spec.js';
import {
  isJobOver,
  isTaskGroupOver,
  type JobState,
  judgeExecution,
  mayJobBecome,
  mayTaskGroupBecome,
  pipelineStateOf,
  type TaskGroupState,
} from '../../src/rules/job-states.js';
import { rateJob } from '../support/jobs.js';

const JOB: JobState[] = [
  'CREATED',
  'SCHEDULED',
  'RUNNING',
  'FINISHED',
  'FAILING',
  'FAILED',
  'CANCELING',
  'CANCELED',
  'DOING_SAVEPOINT',
  'SAVEPOINT_DONE',
];
const TASK_GROUP: TaskGroupState[] = [
  'CREATED',
  'DEPLOYING',
  'RUNNING',
  'FINISHED',
  'FAILED',
  'CANCELING',
  'CANCELED',
];

test('a job that is over becomes nothing else', () => {
  for (const from of JOB.filter(isJobOver)) expect(JOB.filter((to) => mayJobBecome(from, to))).toEqual([]);
});

test('a job fails, is cancelled and makes a savepoint only by way of ending its task groups', () => {
  expect(JOB.filter((from) => mayJobBecome(from, 'FAILED'))).toEqual(['FAILING', 'DOING_SAVEPOINT']);
  expect(JOB.filter((from) => mayJobBecome(from, 'CANCELED'))).toEqual(['CANCELING']);
  expect(JOB.filter((from) => mayJobBecome(from, 'SAVEPOINT_DONE'))).toEqual(['DOING_SAVEPOINT']);
  expect(JOB.filter((from) => mayJobBecome(from, 'CREATED'))).toEqual(['FAILING']);
});

test('a task group that is over is only ever started again, by a new execution', () => {
  for (const from of TASK_GROUP.filter(isTaskGroupOver)) {
    expect(TASK_GROUP.filter((to) => mayTaskGroupBecome(from, to))).toEqual(['CREATED']);
  }
});

test.each<[TaskGroupState[], string, string]>([
  [['CREATED', 'CREATED'], 'CREATED', 'RUNS'],
  [['DEPLOYING', 'RUNNING'], 'SCHEDULED', 'RUNS'],
  [['RUNNING', 'RUNNING'], 'RUNNING', 'RUNS'],
  [['RUNNING', 'FINISHED'], 'RUNNING', 'RUNS'],
  [['FINISHED', 'FINISHED'], 'FINISHED', 'FINISHED'],
  [['FAILED', 'RUNNING'], 'FAILING', 'FAILED'],
  [['FAILED', 'CANCELING'], 'FAILING', 'FAILED'],
  [['FAILED', 'CANCELED'], 'FAILED', 'FAILED'],
  [['FINISHED', 'CANCELED'], 'CANCELED', 'FAILED'],
  [['CANCELING', 'RUNNING'], 'CANCELING', 'RUNS'],
])('task groups %j: their pipeline is %s, the execution %s', (states, pipeline, execution) => {
  expect(pipelineStateOf(states)).toBe(pipeline);
  expect(judgeExecution(states)).toBe(execution);
});

test('files are dealt out so that each is read once, by as many task groups as there can be', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 60 }),
      (paths, groups) => {
        const split = splitFiles(paths, groups);
        expect(split.flat().sort()).toEqual([...paths].sort());
        expect(split).toHaveLength(Math.min(groups, paths.length));
        const sizes = split.map((one) => one.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      },
    ),
  );
});

test('the rows of a rate are cut into ranges that meet without gap or overlap', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 250 }), (rows, groups) => {
      let next = 0;
      for (const part of splitRate({ rows, rowsPerSecond: 100 }, groups)) {
        expect(part.first).toBe(next);
        expect(part.rows).toBeGreaterThan(0);
        next += part.rows;
      }
      expect(next).toBe(rows);
    }),
  );
  expect(splitRate({ rows: 0, rowsPerSecond: 100 }, 8)).toHaveLength(1);
});

test.each([
  [
    'the same task group twice',
    (job: ReturnType<typeof twoGroups>) => ({
      ...job,
      pipelines: [
        {
          ...job.pipelines[0]!,
          taskGroups: [job.pipelines[0]!.taskGroups[0]!, job.pipelines[0]!.taskGroups[0]!],
        },
      ],
    }),
    'task group 1 is there twice',
  ],
  [
    'the same pipeline twice',
    (job: ReturnType<typeof twoGroups>) => ({ ...job, pipelines: [job.pipelines[0]!, job.pipelines[0]!] }),
    'pipeline 1 is there twice',
  ],
  [
    'a batch without end',
    () => rateJob('/x', { rows: 0 }, { checkpointIntervalMs: 100 }),
    'needs jobMode STREAMING',
  ],
  [
    'a stream without checkpoints',
    () => rateJob('/x', { rows: 0 }, { jobMode: 'STREAMING' }),
    'needs a checkpoint interval',
  ],
  ['a relative sink', () => rateJob('x', { rows: 1 }), 'absolute path'],
])('I10: %s is refused by name', (_what, broken, problem) => {
  expect(() => jobSpec(broken(twoGroups()))).toThrow(problem);
});

function twoGroups() {
  return rateJob('/x', { rows: 10, taskGroups: 2 });
}
