import type { Command } from 'commander';
import { annotate, flushTraces, inSpan, startTracing, tracing } from '../tracing/tracing.js';
import { printLine } from './terminal.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** How a command is called that ended before it was known which one it is. */
const PROGRAM = 'steward';

/**
 * Runs a command in a span, from which everything that it asks for goes out, and ends the process when the spans are sent, or
 * could not be for a moment. A process that is not traced ends by itself.
 */
export async function tracedCommand(run: () => Promise<number>): Promise<void> {
  await startTracing({ service: 'steward-cli' }, (problem) => {
    if (process.env['STEWARD_DEBUG']) printLine(`steward: ${problem}`);
  });
  if (tracing() === undefined) {
    process.exitCode = await run();
    return;
  }
  process.exitCode = await inSpan(PROGRAM, {}, async () => {
    const stopListening = endOnSignal();
    try {
      const exitCode = await run();
      conclude(exitCode);
      return exitCode;
    } finally {
      stopListening();
    }
  });
  if (await flushTraces()) return;
  // What is still being sent would keep the process; what is printed has to be out.
  process.stdout.write('', () => process.exit());
}

/** Names the span of the process after the command that it runs. What it was told stands in no span. */
export function nameCommand(command: Command): void {
  const words: string[] = [];
  for (let one: Command | null = command; one !== null; one = one.parent) words.unshift(one.name());
  tracing()?.trace.getActiveSpan()?.updateName(words.join(' '));
}

function conclude(exitCode: number): void {
  annotate({ 'process.exit.code': exitCode });
  if (exitCode === 0) return;
  const api = tracing();
  const status = { code: api!.SpanStatusCode.ERROR, message: `exit code ${exitCode}` };
  api!.trace.getActiveSpan()?.setStatus(status);
}

/** A signal that nobody else answers ends the process as it always does, only that its spans are sent before. */
function endOnSignal(): () => void {
  const api = tracing()!;
  const span = api.trace.getActiveSpan();
  const listeners = SIGNALS.map((signal) => {
    const listener = (): void => {
      if (process.listenerCount(signal) > 1) return;
      span?.setStatus({ code: api.SpanStatusCode.ERROR, message: signal }).end();
      void flushTraces().then(() => {
        process.off(signal, listener);
        process.kill(process.pid, signal);
      });
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    for (const stop of listeners) stop();
  };
}
