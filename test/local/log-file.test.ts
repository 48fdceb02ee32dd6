import { closeSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { logTail, openLog } from '../../src/local/log-file.js';
import { temporaryDirectory } from '../support/guard.js';

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
beforeEach(() => {
  directory = temporaryDirectory('log');
  file = join(directory.path, 'logs', 'node.log');
});
afterEach(() => directory.remove());

async function append(text: string, rotateAtBytes?: number): Promise<void> {
  const log = await openLog(file, rotateAtBytes);
  writeSync(log, text);
  closeSync(log);
}

test('a log is appended to, and put aside when it has grown too long', async () => {
  await append('first\n', 10);
  await append('second\n', 10);
  expect(readFileSync(file, 'utf8')).toBe('first\nsecond\n');
  await append('third\n', 10);
  expect(readFileSync(file, 'utf8')).toBe('third\n');
  expect(readFileSync(`${file}.1`, 'utf8')).toBe('first\nsecond\n');
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('the tail of a log is its last lines, and none when there is no log', async () => {
  expect(logTail(file)).toBe('');
  await append('a\nb\nc\n');
  expect(logTail(file, 2)).toBe('b\nc');
  // Only what was written since the process started.
  expect(logTail(file, 2, 4)).toBe('c');
  writeFileSync(file, `${'x'.repeat(100_000)}\nend\n`);
  expect(logTail(file, 1)).toBe('end');
});
