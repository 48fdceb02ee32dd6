import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { identityOf, type ProcessIdentity } from '../../src/process-identity.js';

const PREFIX = 'steward-test-';

let guard: ChildProcess | undefined;

/** Has this process killed when the one that runs the tests ends, however that ends. */
export function killWithUs(identity: ProcessIdentity): void {
  tell(identity);
}

/**
 * A new temporary directory of this test process, removed by `remove`, or at the latest when the process is gone; what
 * even that leaves (a machine that lost power) goes with the next run.
 */
export function temporaryDirectory(name: string): { path: string; remove: () => Promise<void> } {
  const path = mkdtempSync(join(tmpdir(), `${PREFIX}${owner()}-${name}-`));
  tell({ directory: path });
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) };
}

/** Removes the temporary directories of test processes that are gone. */
export function sweepTemporaryDirectories(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, start] = new RegExp(`^${PREFIX}(\\d+)-(\\w+)-`).exec(name) ?? [];
    if (pid === undefined || start === undefined || startOf(Number(pid)) === start) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function owner(): string {
  return `${process.pid}-${startOf(process.pid)}`;
}

function startOf(pid: number): string | undefined {
  return identityOf(pid)?.startedAt.replaceAll(/\W/g, '_');
}

function tell(message: ProcessIdentity | { directory: string }): void {
  if (guard === undefined) {
    guard = spawn(process.execPath, [fileURLToPath(new URL('guard.mjs', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    guard.unref();
    // A worker of a test runner that was killed would go on with its test, and nobody would read the result.
    process.once('disconnect', () => process.exit(1));
    (guard.stdin as unknown as { unref(): void }).unref();
  }
  guard.stdin?.write(`${JSON.stringify(message)}\n`);
}
