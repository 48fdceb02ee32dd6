import { type Logger, pino } from 'pino';

export type { Logger };

/**
 * The one logger of a process: JSON lines on stderr, so that stdout stays free for documents. `STEWARD_LOG_LEVEL` sets
 * the level (`info` when unset).
 */
export function createLogger(name: string): Logger {
  return pino(
    { name, level: process.env['STEWARD_LOG_LEVEL'] ?? 'info', base: { name, pid: process.pid } },
    pino.destination({ fd: 2, sync: true }),
  );
}
