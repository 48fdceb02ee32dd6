import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readJobFile } from '../../src/model/job-file.js';

const GOOD = `job: orders
env:
  jobMode: BATCH
  retryTimes: 2
  progressTimeout: 30s
pipelines:
  - source:
      files: [a.csv, b.csv, /far/c.csv]
    transform: SELECT * FROM source;
    sink: { directory: out }
    taskGroups: 2
    checkpointInterval: 500ms
`;

test('a job file is read with its defaults, and relative paths from where it is', () => {
  expect(readJobFile(GOOD, '/home/ann')).toEqual({
    jobId: 'orders',
    job: {
      env: { jobMode: 'BATCH', retryTimes: 2, progressTimeoutMs: 30_000, stateCleanupDelayMs: 60_000 },
      pipelines: [
        {
          pipeline: 1,
          transform: 'SELECT * FROM source',
          sink: { directory: '/home/ann/out', format: 'parquet' },
          parallelism: 1,
          checkpointIntervalMs: 500,
          taskGroups: [
            {
              taskGroup: 1,
              source: { kind: 'files', paths: ['/home/ann/a.csv', '/far/c.csv'], format: 'csv' },
            },
            { taskGroup: 2, source: { kind: 'files', paths: ['/home/ann/b.csv'], format: 'csv' } },
          ],
        },
      ],
    },
  });
});

test('JSON is read as well, and task groups may be listed with their files', () => {
  const file = {
    pipelines: [
      {
        id: 7,
        source: { format: 'ndjson' },
        sink: { directory: '/out', format: 'csv' },
        taskGroups: [
          { id: 3, files: ['x'] },
          { id: 9, files: ['y', 'z'] },
        ],
      },
    ],
  };
  const { jobId, job } = readJobFile(JSON.stringify(file), '/d');
  expect(jobId).toBeUndefined();
  expect(job.pipelines[0]).toMatchObject({
    pipeline: 7,
    taskGroups: [
      { taskGroup: 3, source: { paths: ['/d/x'], format: 'ndjson' } },
      { taskGroup: 9, source: { paths: ['/d/y', '/d/z'] } },
    ],
  });
});

test('durations are those of the command line; 0 needs no unit', () => {
  const env = (more: string) => readJobFile(GOOD.replace('progressTimeout: 30s', more), '/d').job.env;
  expect(env('progressTimeout: 1.5m').progressTimeoutMs).toBe(90_000);
  expect(env('stateCleanupDelay: 0').stateCleanupDelayMs).toBe(0);
  expect(env('stateCleanupDelay: 30d').stateCleanupDelayMs).toBe(30 * 86_400_000);
});

test.each(['orders', 'clicks'])('the example %s.yaml is a job', (name) => {
  const { jobId } = readJobFile(readFileSync(`examples/jobs/${name}.yaml`, 'utf8'), '/d');
  expect(jobId).toBe(name);
});

test.each([
  ['no YAML', 'job: [unclosed', 'line 1: '],
  ['a key twice', 'job: a\njob: b\n', 'line 2: '],
  ['an unknown field', GOOD.replace('jobMode', 'jobMood'), 'line 3: env'],
  [
    'an unknown source',
    GOOD.replace('files: [a.csv, b.csv, /far/c.csv]', 'kafka: topic'),
    'line 8: pipelines.0.source: unknown source: expected files or rate; found kafka',
  ],
  [
    'a duration that is none',
    GOOD.replace('30s', 'soon'),
    'line 5: env.progressTimeout: expected a duration from 100ms to 1d, such as 500ms, 20s, 5m or 2h; found soon',
  ],
  [
    'a duration that is too short',
    GOOD.replace('30s', '99ms'),
    'line 5: env.progressTimeout: expected a duration from 100ms to 1d',
  ],
  [
    'a duration that is too long',
    GOOD.replace('30s', '1.001d'),
    'line 5: env.progressTimeout: expected a duration from 100ms to 1d',
  ],
  [
    'a duration without a unit',
    GOOD.replace('30s', '30000'),
    'line 5: env.progressTimeout: expected a duration from 100ms',
  ],
  [
    'a tombstone that stays too long',
    GOOD.replace('progressTimeout: 30s', 'stateCleanupDelay: 31d'),
    'line 5: env.stateCleanupDelay: expected a duration from 0s to 30d',
  ],
  [
    'checkpoints without a pause',
    GOOD.replace('500ms', '0'),
    'line 12: pipelines.0.checkpointInterval: expected a duration from 10ms to 1d',
  ],
  [
    'a number out of bounds',
    GOOD.replace('taskGroups: 2', 'taskGroups: 0'),
    'line 11: pipelines.0.taskGroups',
  ],
  ['no sink', GOOD.replace('    sink: { directory: out }\n', ''), 'line 7: pipelines.0.sink'],
  [
    'a file twice',
    GOOD.replace('b.csv', 'a.csv'),
    'line 8: pipelines.0.source.files.1: /d/a.csv is there twice',
  ],
  ['a bad job id', GOOD.replace('job: orders', 'job: "../up"'), 'line 1: job: expected 1 to 63'],
  ['no pipelines', 'job: a\npipelines: []\n', 'line 2: pipelines'],
  [
    'a format that nothing says',
    GOOD.replace('[a.csv, b.csv, /far/c.csv]', '[data]'),
    'line 8: pipelines.0.source.format: give a format',
  ],
  [
    'a batch without end',
    'pipelines:\n  - source: { rate: { rowsPerSecond: 10 } }\n    sink: { directory: out }\n',
    'line 2: pipelines.0.source.rate: a rate without end',
  ],
  [
    'duplicate task group ids',
    'pipelines:\n  - source: { format: csv }\n    sink: { directory: out }\n    taskGroups:\n      - { id: 1, files: [a] }\n      - { id: 1, files: [b] }\n',
    'line 6: pipelines.0.taskGroups.1.id: task group 1 is there twice',
  ],
  [
    'duplicate pipeline ids',
    `${GOOD}  - id: 1\n    source: { files: [d.csv] }\n    sink: { directory: out2 }\n`,
    'line 13: pipelines.1.id: pipeline 1 is there twice',
  ],
])('I10: %s is told with line and path', (_what, content, problem) => {
  expect(() => readJobFile(content, '/d')).toThrow(problem);
});

test('several problems are told at once', () => {
  const broken = GOOD.replace('30s', 'soon').replace('retryTimes: 2', 'retryTimes: many');
  expect(() => readJobFile(broken, '/d')).toThrow(/line 4: .*; line 5: /);
});
