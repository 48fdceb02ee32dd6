import { spawn } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockHolder, tryLock } from '../../src/local/lock.js';
import { builtProgram } from '../../src/project.js';
import { temporaryDirectory } from '../support/guard.js';

let directory: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  directory = temporaryDirectory('lock');
});
afterEach(() => directory.remove());

test('a lock is held once, told by its holder, and free again after its release', async () => {
  const first = await tryLock(directory.path);
  expect(first.held).toBe(true);
  expect(lockHolder(directory.path)?.pid).toBe(process.pid);
  expect(await tryLock(directory.path)).toMatchObject({ held: false, holder: { pid: process.pid } });
  if (first.held) await first.lock.release();
  expect(lockHolder(directory.path)).toBeUndefined();
  expect((await tryLock(directory.path)).held).toBe(true);
});

test('claims of dead processes hold nothing up, also when their pid is in use again', async () => {
  await mkdir(directory.path, { recursive: true });
  for (const claim of ['999999999@dead', `${process.pid}@earlier`]) {
    await writeFile(join(directory.path, claim), '');
    await writeFile(join(directory.path, `${claim}.held`), '');
  }
  expect((await tryLock(directory.path)).held).toBe(true);
  expect(await readdir(directory.path)).toHaveLength(2);
});

test('of processes that try at the same moment exactly one wins, round after round', async () => {
  // Each holds what it wins until its stdin closes.
  const script = `
    import { tryLock } from ${JSON.stringify(builtProgram('src/local/lock.ts'))};
    process.stdout.write('ready\\n');
    for await (const directory of process.stdin) {
      const { held } = await tryLock(directory.toString().trim());
      process.stdout.write(held ? 'won\\n' : 'lost\\n');
    }`;
  const contenders = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const answers = () =>
    Promise.all(
      contenders.map(
        (contender) =>
          new Promise<string>((resolve) =>
            contender.stdout.once('data', (text: Buffer) => resolve(text.toString().trim())),
          ),
      ),
    );
  try {
    expect(await answers()).toEqual(Array(4).fill('ready'));
    for (let round = 0; round < 25; round++) {
      const answered = answers();
      for (const contender of contenders)
        contender.stdin.write(`${join(directory.path, `round-${round}`)}\n`);
      expect((await answered).filter((answer) => answer === 'won')).toHaveLength(1);
    }
  } finally {
    for (const contender of contenders) contender.stdin.end();
  }
});
