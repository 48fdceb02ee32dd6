import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Connection } from '@temporalio/client';
import type { ProcessSpec } from './child-process.js';

export interface TemporalServerOptions {
  /** The `temporal` program. */
  binary: string;
  port: number;
  /** Absent: without Web UI. */
  uiPort?: number;
  /** The store; absent: in memory, gone with the process. */
  databaseFile?: string;
  logFile: string;
}

/**
 * `temporal server start-dev` on 127.0.0.1, with the settings that make it quick (measured, TEMPORAL.md): timers that
 * fire within 20 ms and not 1 s, a store that does not sync on every write, no queue that dispatches only every
 * 50 ms, and workflow tasks of a killed worker that are given to another one after 3 s and not 10 s.
 */
export async function temporalServer(options: TemporalServerOptions): Promise<ProcessSpec> {
  if (options.databaseFile !== undefined) await mkdir(dirname(options.databaseFile), { recursive: true });
  const dynamic = {
    'history.timerProcessorMaxTimeShift': '"20ms"',
    'history.transferProcessorMaxPollRPS': '2000',
    'history.transferProcessorMaxPollHostRPS': '2000',
    'history.defaultWorkflowTaskTimeout': '"3s"',
  };
  const pragmas = { journal_mode: 'WAL', synchronous: 'NORMAL' };
  return {
    name: 'temporal',
    command: options.binary,
    args: [
      'server',
      'start-dev',
      '--ip=127.0.0.1',
      `--port=${options.port}`,
      ...(options.uiPort === undefined ? ['--headless'] : [`--ui-port=${options.uiPort}`]),
      ...(options.databaseFile === undefined ? [] : [`--db-filename=${options.databaseFile}`]),
      '--log-level=warn',
      '--log-format=json',
      ...Object.entries(pragmas).map(([name, value]) => `--sqlite-pragma=${name}=${value}`),
      ...Object.entries(dynamic).map(([name, value]) => `--dynamic-config-value=${name}=${value}`),
    ],
    // The server's flags can be given as variables too; none of the user's is meant for it.
    env: Object.fromEntries(
      Object.keys(process.env)
        .filter((name) => name.startsWith('TEMPORAL_'))
        .map((name) => [name, undefined]),
    ),
    logFile: options.logFile,
    ready: { by: 'probe', probe: () => serves(`127.0.0.1:${options.port}`) },
    readyTimeoutMs: 60_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
  };
}

/** Rejects unless the server answers for its namespace, which a dev server makes a moment after it listens. */
export async function serves(address: string, namespace = 'default'): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '2s' });
  try {
    await connection.withDeadline(Date.now() + 2_000, () =>
      connection.workflowService.describeNamespace({ namespace }),
    );
  } finally {
    await connection.close();
  }
}
