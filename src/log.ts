import { type Logger, pino } from 'pino';
import { callContext } from './call-context.js';
import { traceIds } from './tracing/tracing.js';

export type { Logger };

/**
 * The one logger of a process: JSON lines on stderr, so that stdout stays free for documents. `STEWARD_LOG_LEVEL` sets
 * the level (`info` when unset). A line that is written on behalf of a workflow says which (docs/metrics.md), and in which trace (docs/traces.md).
 */
export function createLogger(name: string): Logger {
  return pino(
    {
      name,
      level: process.env['STEWARD_LOG_LEVEL'] ?? 'info',
      base: { name, pid: process.pid },
      mixin: () => ({ ...callContext(), ...traceIds() }),
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
