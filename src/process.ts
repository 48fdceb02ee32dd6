import { createLogger, type Logger } from './log.js';
import { messageOf } from './message-of.js';
import { WrongTransport } from './model/transport.js';
import { OccasionalLog } from './rpc/occasional-log.js';
import { flushTraces, startTracing } from './tracing/tracing.js';

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
 * when its transport settings are wrong. Before it ends, its spans are sent.
 *
 * @param name of the program and, when there are several of it, which one: `node node-1`
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
  const [service, instance] = name.split(' ');
  const occasionally = new OccasionalLog(log);
  try {
    await startTracing({ service: `steward-${service}`, instance }, (problem) =>
      occasionally.warn('something is wrong with the traces', { problem }),
    );
    const { ready, ended } = await start(log, stopping);
    process.stdout.write(`${JSON.stringify({ ready: true, ...ready })}\n`);
    await ended;
    await flushTraces();
    process.exit(0);
  } catch (error) {
    if (error instanceof WrongTransport) {
      process.stderr.write(`${name}: ${error.message}\n`);
      process.exit(2);
    }
    log.fatal({ err: error }, `${name} stopped: ${messageOf(error)}`);
    await flushTraces();
    process.exit(1);
  }
}
