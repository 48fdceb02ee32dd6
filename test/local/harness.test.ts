import { spawnSync } from 'node:child_process';
import { Client } from 'pg';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.js';
import { freePort } from '../support/ports.js';
import { startTemporal } from '../support/temporal.js';

test('a test file gets an empty database of its own, and drops it', async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
  expect(one.url).not.toBe(other.url);
  const client = new Client({ connectionString: one.url });
  // Dropping the database ends the connection from the server's side.
  client.on('error', () => {});
  await client.connect();
  const { rows } = await client.query(
    "SELECT count(*)::int AS tables FROM pg_tables WHERE schemaname = 'public'",
  );
  expect(rows).toEqual([{ tables: 0 }]);
  await Promise.all([one.drop(), other.drop()]);
  await expect(new Client({ connectionString: one.url }).connect()).rejects.toThrow('does not exist');
});

test('a test file gets a Temporal server of its own that serves at once', async () => {
  const temporal = await startTemporal();
  try {
    const handle = await temporal.client.workflow.start('nothing', { taskQueue: 'none', workflowId: 'w' });
    expect((await handle.describe()).status.name).toBe('RUNNING');
  } finally {
    await temporal.stop();
  }
  expect(temporal.process.running).toBe(false);
});

test('a free port is kept for the test process that got it, also while nothing listens on it', async () => {
  const claim = `require('node:net').createServer().once('error', ({ code }) => process.stdout.write(code))
    .listen({ port: ${await freePort()}, host: '127.0.0.2', exclusive: true }, () => process.exit(0))`;
  expect(spawnSync(process.execPath, ['-e', claim], { encoding: 'utf8' }).stdout).toBe('EADDRINUSE');
});
