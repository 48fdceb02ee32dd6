import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { screenful } from '../../src/cli/overview.js';
import { ProgressLine, progressText } from '../../src/cli/progress.js';
import { operationText } from '../../src/cli/render.js';
import type { OperationDescription } from '../../src/client/index.js';
import { eventually } from '../support/eventually.js';

const RUNNING: OperationDescription = {
  operationId: 'region-group/7/remove',
  runId: 'r',
  firstRunId: 'r',
  workflowType: 'removeRegionGroups',
  status: 'RUNNING',
  startedAt: '2026-01-01T00:00:00.000Z',
  pendingActivities: [],
  blockers: [],
};

test('the line says what, how far, for how long', () => {
  const half = {
    ...RUNNING,
    progress: { total: 12, open: 6, openByNode: [{ nodeId: 'node-1', replicas: 6 }] },
  };
  expect(progressText('removing region group 7', half, 4_200, 80)).toBe(
    '⠹ removing region group 7  ██████████░░░░░░░░░░ 6/12  4.2s',
  );
});

test('the line names what blocks, and is never longer than the terminal', () => {
  const blocked = { ...RUNNING, blockers: ['node-2 does not answer: Unavailable'] };
  expect(progressText('removing', blocked, 61_000, 80)).toContain('1m 1s  BLOCKED node-2 does not answer');
  expect(Array.from(progressText('removing', blocked, 0, 30))).toHaveLength(30);
});

test('on a terminal the line is drawn over and over, and gone in the end; elsewhere nothing is written', async () => {
  for (const isTTY of [true, false]) {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 60 });
    const line = new ProgressLine('removing', stream as unknown as NodeJS.WriteStream);
    line.show({ ...RUNNING, progress: { total: 2, open: 1, openByNode: [] } });
    if (isTTY) await eventually('it is drawn twice', () => (stream.readableLength > 150 ? true : undefined));
    line.end();
    stream.end();
    const written = await text(stream);
    const [start, ...frames] = written.split(`\r\u001b[K`);
    if (!isTTY) expect(written).toBe('');
    else {
      expect(start).toBe('');
      expect(frames.pop()).toBe('');
      for (const frame of frames) expect(frame).toMatch(/^. removing {2}█+░+ 1\/2 /u);
    }
  }
});

test('a screen that is too small for everything says how much is missing', () => {
  const lines = ['1', '2', '3', '4', '5'];
  expect(screenful(lines.join('\n'), 6)).toEqual(lines);
  expect(screenful(lines.join('\n'), 5)).toEqual(['1', '2', '3', 'and 2 more lines: steward top --once']);
});

test('an operation without a summary says what it is by the first line of its details', () => {
  const currentDetails = 'Optimizer group **nightly**: 2 optimizers\n\n| resource | state |';
  expect(operationText({ ...RUNNING, currentDetails })).toMatch(
    /^what {7}Optimizer group nightly: 2 optimizers$/m,
  );
  expect(operationText({ ...RUNNING, summary: 'keep group nightly', currentDetails })).toMatch(
    /^what {7}keep group nightly$/m,
  );
});
