import { createLogger, type Logger } from './log.js';
import { WrongTransport } from './model/transport.js';

/** What a process of Steward is made of, once it serves. */
export interface Served {
  /** Told on stdout as one JSON line with `"ready":true`. */
  readonly ready: Record<string, unknown>;
  /** Settles when the process has nothing more to do. */
  readonly ended: Promise<void>;
}

/**
 * Runs the body of a process: starts it, tells that it is ready, stops it on SIGTERM or SIGINT (and, with
 * `--exit-with-parent`, when stdin closes). A process that cannot start says why in one line and exits with 1, or with 2
 * when its transport settings are wrong.
 */
export async function runProcess(
  name: string,
  start: (log: Logger, stopping: Promise<void>) => Promise<Served>,
): Promise<void> {
  const log = createLogger(name);
  let stop: () => void = () => {};
  const stopping = new Promise<void>((resolve) => {
    stop = resolve;
  });
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (process.argv.includes('--exit-with-parent')) {
    process.stdin.resume();
    process.stdin.once('end', stop);
    process.stdin.once('error', stop);
  }
  try {
    const { ready, ended } = await start(log, stopping);
    process.stdout.write(`${JSON.stringify({ ready: true, ...ready })}\n`);
    await ended;
    process.exit(0);
  } catch (error) {
    if (error instanceof WrongTransport) {
      process.stderr.write(`${name}: ${error.message}\n`);
      process.exit(2);
    }
    log.fatal({ err: error }, `${name} stopped: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
